"""One decrypted RTP stream towards a page, as the packet router sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from gateway.protocol.rtcp import FarReport
from gateway.protocol.rtp import OutgoingStream

Receiver = Callable[[bytes, float], None]
"""Takes an RTP packet and the monotonic instant, in seconds, at which it came."""


@runtime_checkable
class RtpPort(Protocol):
    """Where the packets of a page go to and come from. Synchronous: the packet path never awaits."""

    @property
    def payload_types(self) -> Mapping[str, int]:
        """Payload type by codec, both ways, for example ``{"PCMU": 0, "PCMA": 8}``."""

    def send(self, packet: bytes) -> None:
        """Send *packet*, whose payload type is already one of this port. Never blocks; drops when not connected."""

    def set_receiver(self, on_rtp: Receiver | None) -> None:
        """Give each packet that comes to *on_rtp*; None: to nobody."""


@runtime_checkable
class ContinuousPort(Protocol):
    """A port that outlives calls: the peer hears one unbroken stream (one SSRC) whoever sends through it."""

    @property
    def outgoing(self) -> OutgoingStream:
        """Where the stream towards the page stands; whoever sends through the port goes on from it."""


@runtime_checkable
class ReportingPort(Protocol):
    """A port whose page says how it fares (RTCP), and is told how its own packets fare beyond us."""

    def far_report(self) -> FarReport | None:
        """Return what the page said last of the packets that it was sent, None before it did."""

    def set_beyond(self, beyond: Callable[[], FarReport | None] | None) -> None:
        """Say who knows how the page's packets fare at the far end; None: nobody."""
