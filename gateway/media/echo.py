"""Sends a page's own sound back to it, through packet path and RTP codec: the far half of a proof that sound flows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from gateway.codecs import g711
from gateway.codecs.levels import FLOOR_DBFS, peak_dbfs
from gateway.domain.codecs import G711
from gateway.media.path import PacketPath, routes
from gateway.media.port import RtpPort
from gateway.protocol.rtp import HEADER_BYTES, OutgoingStream


@dataclass(frozen=True, slots=True)
class EchoFigures:
    """What was sent back.

    Attributes:
        packets: of G.711.
        peak_dbfs: the loudest of them; None where there were none.
    """

    packets: int = 0
    peak_dbfs: float | None = None


@runtime_checkable
class EchoingSide(Protocol):
    """A `PageSide` that can send a page's sound back to it."""

    async def echo(self, seconds: float) -> EchoFigures:
        """Send what comes back, for so long or until a call takes the page.

        Raises:
            LocalProtocolError: a call has the page, or there is no leg to it.
        """


class Echo:
    """The packet path from a page to itself.

    Args:
        port: of the page.
        outgoing: the stream towards it.
    """

    def __init__(self, port: RtpPort, outgoing: OutgoingStream) -> None:
        spoken: Final = {codec: number for codec, number in port.payload_types.items() if codec in G711}
        self._codecs = {number: codec for codec, number in spoken.items()}
        self._path = PacketPath(outgoing)
        self._path.set_routes(routes(self._codecs, spoken))
        self._port = port
        self._packets = 0
        self._peak: float | None = None

    def receive(self, packet: bytes, now_s: float) -> None:
        """Decode *packet*, encode it again, and send it back."""
        forwarded = self._path.forward(packet, now_s)
        if forwarded is None:
            return
        codec = self._codecs[forwarded[1] & 0x7F]
        samples = g711.decode(codec, forwarded[HEADER_BYTES:])
        self._packets += 1
        self._peak = max(self._peak if self._peak is not None else FLOOR_DBFS, peak_dbfs(samples))
        self._port.send(forwarded[:HEADER_BYTES] + g711.encode(codec, samples))

    def figures(self) -> EchoFigures:
        """What was sent back so far."""
        return EchoFigures(self._packets, self._peak)
