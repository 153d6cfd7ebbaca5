"""What the rest of Ponte knows of a page: its state, its calls, one media leg. Drivers implement it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from gateway.domain.errors import PonteError
from gateway.domain.ids import PageCallId
from gateway.domain.page_audio import PageAudio, PageTest
from gateway.domain.page_call import PageCallEvent
from gateway.domain.states import PageState
from gateway.domain.termination import Termination


def _ignore(_: object) -> None:
    """Stand in for a listener that has no use for it."""


class CallRefused(PonteError):
    """The page did not place the call.

    Attributes:
        termination: why, in the words that the PBX is told.
    """

    code = "call_refused"
    http_status = 409

    def __init__(self, termination: Termination) -> None:
        super().__init__(termination.text)
        self.termination = termination


@dataclass(frozen=True, slots=True)
class Peer:
    """The other party on the page's side.

    Attributes:
        phone: digits of the E.164 number without ``+``; None when the page does not know it (a LID peer).
        name: the contact's name, where the page knows one.
    """

    phone: str | None
    name: str | None


class PageCall(Protocol):
    """One call of the page."""

    page_call_id: PageCallId
    peer: Peer
    outgoing: bool

    async def next_event(self) -> PageCallEvent:
        """Wait for the next event; `PageEnded` is the last one."""

    async def accept(self) -> None:
        """Answer an incoming call, with audio only."""

    async def reject(self) -> None:
        """Decline an incoming call."""

    async def hangup(self) -> None:
        """End the call; harmless when it is over."""


@dataclass(frozen=True, slots=True)
class PageListener:
    """Whom a driver tells.

    Attributes:
        on_state: the page's state changed (state, detail for people).
        on_incoming: somebody calls.
        on_media: the page's view of the media leg changed (a W3C RTCPeerConnectionState).
        on_qr: the text of the login page's QR code changed; None: there is none any more.
        on_link_code: WhatsApp made another code for linking by phone number.
    """

    on_state: Callable[[PageState, str], None]
    on_incoming: Callable[[PageCall], None]
    on_media: Callable[[str], None]
    on_qr: Callable[[str | None], None] = _ignore
    on_link_code: Callable[[str], None] = _ignore


class PageDriver(Protocol):
    """A web client that can place and take calls."""

    state: PageState
    detail: str
    own_number: str | None

    @property
    def can_take(self) -> bool:
        """Whether incoming calls can be had now."""

    @property
    def can_place(self) -> bool:
        """Whether calls can be placed now."""

    @property
    def busy(self) -> bool:
        """Whether the page is in a call, whoever placed it."""

    async def dial(self, number: str) -> PageCall:
        """Place a call.

        Args:
            number: digits of an E.164 number without ``+``.

        Raises:
            CallRefused: the page did not place it; carries the termination that says why.
        """

    async def connect_media(self, offer_sdp: str) -> str:
        """Exchange one complete offer for one complete answer."""

    async def start_media(self, codec: str, max_bitrate_bps: int | None = None) -> None:
        """Attach the microphone and speaker of the coming call.

        Args:
            codec: what the page sends, a name of `gateway.domain.codecs.CODECS`.
            max_bitrate_bps: of Opus; None: what the page likes.
        """

    async def set_codec(self, codec: str, max_bitrate_bps: int | None = None) -> None:
        """Change what the page sends. From then on it hears any codec without delay, the one before too."""

    async def play_dtmf(self, digit: str, duration_ms: int) -> None:
        """Play a key to the far end, beside what the microphone carries; returns when it has begun.

        Args:
            digit: one of ``0123456789*#ABCD``.
            duration_ms: how long it sounds.

        Raises:
            PonteError: the page cannot play it.
        """

    async def audio(self) -> PageAudio | None:
        """Look at the sound of the call that is up; None where the page does not tell."""

    async def stop_media(self) -> None:
        """Detach microphone and speaker."""


@runtime_checkable
class TestableDriver(Protocol):
    """A driver whose page can prove that sound flows."""

    async def self_test(self) -> PageTest:
        """Send a tone the way that a call's sound takes, listen for it to come back, and tell what came.

        Raises:
            PonteError: a call's media runs, there is no leg, or the page does not answer.
        """
