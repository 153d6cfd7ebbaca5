"""A call's recording: what is asked for, and what became of it. Values that cross processes."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from gateway.domain.errors import PonteError


class RecordingFormat(enum.StrEnum):
    """What a recording is written as."""

    OPUS = "opus"
    WAV = "wav"

    @property
    def suffix(self) -> str:
        """The end of the file's name."""
        return ".opus" if self is RecordingFormat.OPUS else ".wav"

    @property
    def media_type(self) -> str:
        """As HTTP calls it."""
        return "audio/ogg" if self is RecordingFormat.OPUS else "audio/wav"


class RecordingState(enum.StrEnum):
    """Where a recording is."""

    RECORDING = "recording"
    STOPPED = "stopped"
    """Somebody stopped it; it may be started again in the same call, in the same file."""
    DONE = "done"
    """The call is over, and the file complete."""
    FAILED = "failed"
    """It ended before the call did; what was written until then is there."""
    INTERRUPTED = "interrupted"
    """The process died in the call; the file is complete up to its last second."""


class RecordingFailed(PonteError):
    """The recording could not begin, or failed before; the call goes on."""

    code = "recording_failed"
    http_status = 409


class RecordingUnavailable(PonteError):
    """Calls cannot be recorded here."""

    code = "recording_unavailable"
    http_status = 409


@dataclass(frozen=True, slots=True)
class RecordingSpec:
    """How a call is recorded.

    Attributes:
        folder: where the file is put; made where it is missing.
        name: of the file, without its end.
        format: what is written.
        tone: both sides hear a tone, or the sound, when it begins.
        sound: a file that is played instead of the tone; empty: none.
        min_free_bytes: of the disk, below which nothing more is written.
    """

    folder: str
    name: str
    format: RecordingFormat = RecordingFormat.OPUS
    tone: bool = False
    sound: str = ""
    min_free_bytes: int = 0

    def __post_init__(self) -> None:
        """Values that came from another process have texts for names."""
        object.__setattr__(self, "format", RecordingFormat(self.format))

    @property
    def file(self) -> str:
        """The file's name."""
        return self.name + self.format.suffix


@dataclass(frozen=True, slots=True)
class RecordingStatus:
    """Where a recording is.

    Attributes:
        file: name of the file.
        duration_s: of the sound in it.
        bytes: of the file.
        reason: why it failed, a slug; empty where it did not.
        detail: the same for people.
        dropped: packets that did not find room, since the disk was too slow.
    """

    state: RecordingState
    file: str
    format: RecordingFormat
    duration_s: float = 0.0
    bytes: int = 0
    reason: str = ""
    detail: str = ""
    dropped: int = 0

    def __post_init__(self) -> None:
        """See `RecordingSpec`."""
        object.__setattr__(self, "state", RecordingState(self.state))
        object.__setattr__(self, "format", RecordingFormat(self.format))
