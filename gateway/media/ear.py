"""How loud one place of the packet path was in the last second, without decoding what passes.

Packets are only kept, by reference. Whoever asks pays: of some of them the loudest code is looked up, which for G.711
is a matter of bytes. What is in Opus or G.722 is not looked into, but for the frames of two bytes that Opus sends where
nothing is heard.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.codecs import g711
from gateway.codecs.levels import FLOOR_DBFS, to_dbfs
from gateway.domain.codecs import G711, OPUS
from gateway.protocol.rtp import HEADER_BYTES, PLAIN
from gateway.protocol.sdp import Negotiated

_KEPT: Final = 50  # 1 s of 20 ms
_ASKED: Final = 12  # of them: a syllable is longer than four packets
_LOOK_S: Final = 0.4  # between looks: whoever asks more often is told the same
_DTX_BYTES: Final = 3  # RFC 7587 3.1.3: an Opus frame of at most two bytes, or its header alone


def _ranks(codec: str) -> tuple[bytes, tuple[float, ...]]:
    """Return the place of each code in the order of loudness, and the level of each place."""
    samples = [abs(g711.decode(codec, bytes([code]))[0]) for code in range(256)]
    steps = sorted(set(samples))
    return bytes(steps.index(sample) for sample in samples), tuple(to_dbfs(step) for step in steps)


_RANKS: Final = {codec: _ranks(codec) for codec in G711}


class Ear:
    """One place of the packet path.

    Attributes:
        take: takes a packet that passes, or whatever else came to the port; nothing else happens then.
    """

    __slots__ = ("_packets", "take")

    def __init__(self) -> None:
        self._packets: deque[bytes] = deque(maxlen=_KEPT)
        self.take = self._packets.append

    def peak_dbfs(self, codecs: Mapping[int, str]) -> float | None:
        """Return the loudest sample of what passed since the last look; None where nothing did that can be told.

        Args:
            codecs: by payload type.
        """
        packets = list(self._packets)
        self._packets.clear()
        loudest: float | None = None
        for packet in packets[:: max(1, len(packets) // _ASKED)]:
            if len(packet) < HEADER_BYTES or packet[0] != PLAIN:
                continue  # what keeps a NAT open; extensions and padding: not worth a search for the payload
            codec = codecs.get(packet[1] & 0x7F, "")
            payload = packet[HEADER_BYTES:]
            if codec in _RANKS and payload:
                order, levels = _RANKS[codec]
                level = levels[max(payload.translate(order))]
            elif codec == OPUS.name and len(payload) <= _DTX_BYTES:
                level = FLOOR_DBFS
            else:
                continue
            loudest = level if loudest is None else max(loudest, level)
        return loudest


@dataclass(frozen=True, slots=True)
class Heard:
    """How loud it was: what came and what went, of each direction."""

    wa_to_sip: tuple[float | None, float | None] = (None, None)
    sip_to_wa: tuple[float | None, float | None] = (None, None)


class Ears:
    """All places of one call.

    Attributes:
        page_came, page_went: take each packet of the page, and for it.
        sip_came, sip_went: the same of the SIP peer.
    """

    __slots__ = ("_heard", "_looked_s", "_places", "page_came", "page_went", "sip_came", "sip_went")

    def __init__(self) -> None:
        self._places = [Ear() for _ in range(4)]
        self.page_came, self.sip_went, self.sip_came, self.page_went = (ear.take for ear in self._places)
        self._heard = Heard()
        self._looked_s = 0.0

    def look(self, page: Mapping[str, int], negotiated: Negotiated | None, now_s: float) -> Heard:
        """Return how loud it was since the last look.

        Args:
            page: payload types of the page by codec.
            negotiated: with the SIP peer.
            now_s: monotonic.
        """
        if negotiated is None or now_s - self._looked_s < _LOOK_S:
            return self._heard
        self._looked_s = now_s
        of_page = {number: codec for codec, number in page.items()}
        to_sip = {number: codec for codec, number in negotiated.send.items()}
        codecs = (of_page, to_sip, negotiated.receive, of_page)
        page_came, sip_went, sip_came, page_went = (
            ear.peak_dbfs(codec) for ear, codec in zip(self._places, codecs, strict=True)
        )
        self._heard = Heard((page_came, sip_went), (sip_came, page_went))
        return self._heard
