"""The page's side of the media plane: who makes the connection to a page, and what carries it from call to call.

A plane makes the page's legs itself, since packets have to come and go where they are routed: in this process, in a
worker, or in a media server of its own. Call control exchanges SDP with the page and hands legs on, and never sees a
packet. A `PageSide` outlives its legs: a leg that is made anew in a call goes on with that call.
"""

from __future__ import annotations

import asyncio
import enum
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.domain.codecs import G722, OPUS, PCMA, PCMU
from gateway.domain.errors import LocalProtocolError
from gateway.media.echo import Echo, EchoFigures
from gateway.media.port import ContinuousPort, Receiver, ReportingPort, RtpPort
from gateway.protocol.rtcp import FarReport
from gateway.protocol.rtp import OutgoingStream

PAGE_PAYLOAD_TYPES: Final[Mapping[str, int]] = {codec.name: codec.payload_type for codec in (PCMU, PCMA, G722, OPUS)}
"""Payload types that a page is offered, by codec: the same of every leg."""


class LegState(enum.StrEnum):
    """Where a leg is."""

    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    FAILED = "failed"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class LegStats:
    """What a leg carried.

    Attributes:
        sent: RTP packets sent to the page.
        unsent: dropped since the leg was not connected or the socket did not take them.
        received: RTP packets of the page.
        lost: packets of the page that never came.
        jitter_ms: of their arrival.
        undecryptable: packets that failed SRTP's check, replays too.
        round_trip_ms: by the page's RTCP, None before it said.
        peer_lost: of our packets, as the page says.
        peer_jitter_ms: of our packets, as the page says.
        last_packet_s: monotonic instant of the page's last packet.
    """

    sent: int = 0
    unsent: int = 0
    received: int = 0
    lost: int = 0
    jitter_ms: float = 0.0
    undecryptable: int = 0
    round_trip_ms: float | None = None
    peer_lost: int = 0
    peer_jitter_ms: float = 0.0
    last_packet_s: float | None = None


class PageLeg(Protocol):
    """One connection to a page: one offer, one answer, and an end. It cannot be used again: make another one."""

    on_state: Callable[[LegState], None]
    """Called after each change of state; may be set at any time.

    A leg that ends by itself (FAILED, CLOSED) still has to be closed. A plane that wants to negotiate with the page
    anew, for a call that begins or since its engine was started again, ends the leg in the same way: whoever keeps the
    page connected then makes another one.
    """

    @property
    def state(self) -> LegState:
        """Where the leg is."""

    async def offer(self) -> str:
        """Return the complete offer to the page: every codec, sendrecv, all candidates.

        Raises:
            LocalProtocolError: the leg made its offer before, or is closed.
            Unavailable: the plane cannot offer now.
        """

    async def accept(self, answer_sdp: str) -> None:
        """Take the page's answer; returns when packets can flow.

        Raises:
            RemoteProtocolError: the answer is malformed or refuses the audio.
            PeerTimeout: connecting took too long; the leg failed.
            Unavailable: there is no way through; the leg failed.
            LocalProtocolError: there is no offer to answer.
        """

    def stats(self) -> LegStats:
        """Return the figures; of a plane elsewhere they may be a second old."""

    async def close(self) -> None:
        """Tell the page and free what the leg holds. A second time changes nothing."""


class PageSide(Protocol):
    """One page as calls see it, whichever leg is up; made by `MediaPlane.page_side` and good for that plane alone."""

    @property
    def connected(self) -> bool:
        """Whether there is a leg, so that a call would be heard."""

    def new_leg(self, *, addresses: Sequence[str] = (), connect_timeout_s: float = 10.0) -> PageLeg:
        """Return a leg to this page, not yet in use.

        Args:
            addresses: local IP addresses to be reached at; none: all but loopback.
            connect_timeout_s: seconds for ICE and DTLS together.
        """

    def use(self, leg: PageLeg | None) -> None:
        """Carry the page's audio over *leg*, which is connected, from now on; None while there is no leg."""

    def close(self) -> None:
        """Forget the page; calls that still run with it hear nothing more. Legs are closed by who made them."""


class RtpLeg(RtpPort, PageLeg, Protocol):
    """A leg whose packets come and go in this process."""


class LegFactory(Protocol):
    """Makes the legs of pages in this process."""

    def __call__(self, *, addresses: Sequence[str], connect_timeout_s: float) -> RtpLeg:
        """See `PageSide.new_leg`."""


class PagePort:
    """The `PageSide` of a plane in this process; also the `RtpPort` whose leg may be replaced in the middle of a call.

    Args:
        make_leg: makes the legs; None: it has none but those that are put behind it.
    """

    def __init__(self, make_leg: LegFactory | None = None) -> None:
        self._make_leg = make_leg
        self._spare = OutgoingStream(random.SystemRandom().getrandbits)
        self._leg: RtpPort | None = None
        self._receiver: Receiver | None = None
        self._beyond: Callable[[], FarReport | None] | None = None

    @property
    def connected(self) -> bool:
        """See `PageSide`."""
        return self._leg is not None

    def new_leg(self, *, addresses: Sequence[str] = (), connect_timeout_s: float = 10.0) -> RtpLeg:
        """See `PageSide`."""
        if self._make_leg is None:
            raise LocalProtocolError("This media plane makes no legs to pages")
        return self._make_leg(addresses=addresses, connect_timeout_s=connect_timeout_s)

    def use(self, leg: RtpPort | PageLeg | None) -> None:
        """See `PageSide`."""
        if leg is not None and not isinstance(leg, RtpPort):
            raise LocalProtocolError("This leg is another media plane's")
        if self._leg is not None:
            self._leg.set_receiver(None)
            self._tell_beyond(None)
        self._leg = leg
        if leg is not None:
            leg.set_receiver(self._receiver)
            self._tell_beyond(self._beyond)

    async def echo(self, seconds: float) -> EchoFigures:
        """See `gateway.media.echo.EchoingSide`."""
        leg = self._leg
        if leg is None or self._receiver is not None:
            raise LocalProtocolError("The page is in use, or there is no leg to it")
        echo = Echo(leg, self.outgoing)
        leg.set_receiver(echo.receive)
        try:
            await asyncio.sleep(seconds)
        finally:
            # a call that took the page meanwhile has set its own
            if self._leg is leg and self._receiver is None:
                leg.set_receiver(None)
        return echo.figures()

    def close(self) -> None:
        """See `PageSide`."""
        self.use(None)

    @property
    def payload_types(self) -> Mapping[str, int]:
        """What the page answered; before it did, all that it is offered."""
        return self._leg.payload_types if self._leg is not None else PAGE_PAYLOAD_TYPES

    @property
    def outgoing(self) -> OutgoingStream:
        """Where the stream towards the page stands: the leg's own, since its SSRC is what the page knows."""
        return self._leg.outgoing if isinstance(self._leg, ContinuousPort) else self._spare

    def send(self, packet: bytes) -> None:
        """Send an RTP packet to the page; dropped while there is no leg."""
        if self._leg is not None:
            self._leg.send(packet)

    def set_receiver(self, on_rtp: Receiver | None) -> None:
        """Say who takes the page's packets."""
        self._receiver = on_rtp
        if self._leg is not None:
            self._leg.set_receiver(on_rtp)

    def far_report(self) -> FarReport | None:
        """See `ReportingPort`."""
        return self._leg.far_report() if isinstance(self._leg, ReportingPort) else None

    def set_beyond(self, beyond: Callable[[], FarReport | None] | None) -> None:
        """See `ReportingPort`."""
        self._beyond = beyond
        self._tell_beyond(beyond)

    def _tell_beyond(self, beyond: Callable[[], FarReport | None] | None) -> None:
        if isinstance(self._leg, ReportingPort):
            self._leg.set_beyond(beyond)
