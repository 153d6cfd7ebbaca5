"""The page's media leg as calls see it: one port that outlives the legs behind it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from gateway.media.port import ContinuousPort, RtpPort
from gateway.protocol.rtp import OutgoingStream
from gateway.webrtc.sdp import PAYLOAD_TYPES


class PagePort:
    """An `RtpPort` whose leg may be replaced in the middle of a call."""

    payload_types: Mapping[str, int] = PAYLOAD_TYPES  # the same of every leg

    def __init__(self) -> None:
        self._spare = OutgoingStream(random.SystemRandom().getrandbits)
        self._leg: RtpPort | None = None
        self._receiver: Callable[[bytes, float], None] | None = None

    @property
    def connected(self) -> bool:
        """Whether there is a leg."""
        return self._leg is not None

    def use(self, leg: RtpPort | None) -> None:
        """Put *leg* behind the port; None while there is none."""
        if self._leg is not None:
            self._leg.set_receiver(None)
        self._leg = leg
        if leg is not None:
            leg.set_receiver(self._receiver)

    @property
    def outgoing(self) -> OutgoingStream:
        """Where the stream towards the page stands: the leg's own, since its SSRC is what the page knows."""
        return self._leg.outgoing if isinstance(self._leg, ContinuousPort) else self._spare

    def send(self, packet: bytes) -> None:
        """Send an RTP packet to the page; dropped while there is no leg."""
        if self._leg is not None:
            self._leg.send(packet)

    def set_receiver(self, on_rtp: Callable[[bytes, float], None] | None) -> None:
        """Say who takes the page's packets."""
        self._receiver = on_rtp
        if self._leg is not None:
            self._leg.set_receiver(on_rtp)
