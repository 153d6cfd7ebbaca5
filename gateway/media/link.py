"""The network side of one call's media, as the session sees it: RTP over UDP, or WebRTC."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.domain.errors import RemoteProtocolError
from gateway.protocol.sdp import Negotiated, SdpSession, parse_sdp

WEBRTC_PROFILES: Final = frozenset({"UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP"})
"""Transports whose keys come from DTLS (RFC 5764 section 8)."""


def is_webrtc(offer: str) -> bool:
    """Whether the offer's audio can only be had by DTLS; what is malformed is told by whoever answers it."""
    try:
        audio = [media for media in parse_sdp(offer).media if media.media == "audio"]
    except RemoteProtocolError:
        return False
    return bool(audio) and all(media.profile in WEBRTC_PROFILES for media in audio)


@dataclass(frozen=True, slots=True)
class LinkUser:
    """Whom a link tells.

    Attributes:
        on_rtp: takes each RTP packet of the peer, in the clear, and the monotonic instant at which it came.
        on_rtcp: takes each RTCP packet, in the clear; says whether it is well formed.
        on_drop: takes the cause for which a packet of the peer was not taken.
        accepts: whether a packet is RTP of a payload type that was agreed on.
        stream: the SSRC that the peer sends with, None before it is known.
        ssrc: of what we send.
        cname: our RTCP name.
    """

    on_rtp: Callable[[bytes, float], None]
    on_rtcp: Callable[[bytes], bool]
    on_drop: Callable[[str], None]
    accepts: Callable[[bytes], bool]
    stream: Callable[[], int | None]
    ssrc: int
    cname: str


OnLost = Callable[[str], None]
"""Told, with a cause for logs, that no packet of a call can come or go any more."""


class MediaLink(Protocol):
    """How packets travel between us and a SIP peer, and how that is written in SDP.

    The offers and answers of codecs and directions are those of the `SdpSession` that is handed in; the link adds
    where the packets go and how they are protected. `send` and `send_rtcp` are synchronous: they never wait.
    """

    on_lost: OnLost
    """Called once. To be set by the owner."""

    def attach(self, user: LinkUser) -> None:
        """Tell *user* from now on."""

    async def offer(self, sdp: SdpSession, local_address: str) -> str:
        """Return an offer; *local_address* is the IP address that the peer reaches our signalling by.

        Raises:
            Unavailable: there is no way to offer.
        """

    def accept(self, sdp: SdpSession, answer: str) -> Negotiated:
        """Take the answer to our last offer. See `SdpSession.accept_answer`."""

    async def answer(self, sdp: SdpSession, offer: str, local_address: str) -> tuple[str, Negotiated]:
        """Answer the peer's offer. See `SdpSession.answer_offer`; where it raises, nothing has changed."""

    def apply(self, negotiated: Negotiated) -> None:
        """Send to and take from whom *negotiated* says, at once."""

    def start(self) -> None:
        """Packets are wanted from now on; called again after each change of who is at the other end."""

    def send(self, packet: bytes) -> str | None:
        """Send RTP; returns the cause for which it was dropped, None where it was not."""

    def send_rtcp(self, packet: bytes) -> str | None:
        """Send RTCP; returns as `send` does."""

    @property
    def source_moves(self) -> int:
        """Times that the peer was believed at an address which its SDP did not name."""

    async def close(self) -> None:
        """Free the sockets; a second time changes nothing."""
