"""Settings of recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, field_validator

from gateway.config.fields import Names, split_names


class RecordingSettings(BaseModel):
    """Whether calls are recorded, and where that is kept."""

    recording: Literal["off", "on_demand", "all"] = Field(
        default="on_demand",
        description="Which calls are recorded: `on_demand` those for which POST /call/{id}/record asks, `all` every "
        "call from its answer on, `off` none. Nobody records without asking, since laws differ on who has to agree",
    )
    recording_accounts: Names = Field(
        default=(),
        description="Ids of accounts, separated by commas, every call of which is recorded from its answer on, unless "
        "recording is `off`",
    )
    recording_dir: Path | None = Field(
        default=None,
        description="Folder of recordings, made 0700, with one for each account; default recordings in state_dir. A "
        "disk of its own keeps recordings from filling up the database's",
    )
    recording_format: Literal["opus", "wav"] = Field(
        default="opus",
        description="`opus`: Ogg, 21 MB an hour, 2 % of a core for a call; `wav`: 230 MB an hour, half the CPU. Both "
        "stereo with 16 kHz: WhatsApp left, PBX right",
    )
    recording_tone: bool = Field(
        default=False, description="Both sides hear a tone of half a second when a recording begins, and goes on"
    )
    recording_sound: Path | None = Field(
        default=None,
        description="Sound file of 30 s at most that both sides hear instead of the tone, for example that the call "
        "is recorded; what is said meanwhile is not heard",
    )
    recording_min_free_mb: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=200,
        description="Megabytes of the disk that recordings leave free; where there is less, they end. The database may "
        "be on the same disk; 0: until it is full",
    )
    recording_retention_days: Annotated[int, Field(ge=0, le=36500)] = Field(
        default=0,
        description="Days that recordings are kept after their call's end; 0: as long as the call's record, with which "
        "they are deleted in any case",
    )

    @field_validator("recording_accounts", mode="before")
    @classmethod
    def _recording_names(cls, value: object) -> object:
        return split_names(value)
