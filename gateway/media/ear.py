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


def _by_loudness(codec: str) -> tuple[tuple[int, float], ...]:
    """Return each code, the loudest first, with its level in dBFS."""
    amplitudes = {code: abs(g711.decode(codec, bytes([code]))[0]) for code in range(256)}
    return tuple((code, to_dbfs(amplitudes[code])) for code in sorted(amplitudes, key=lambda c: -amplitudes[c]))


_LOUDEST_FIRST: Final = {codec: _by_loudness(codec) for codec in G711}


def _peak_dbfs(codec: str, sound: bytes) -> float:
    """Return the level of the loudest code in *sound*, of which there is some.

    To search for one code after the other takes a fifth of the time of looking at each byte: what is heard is loud, and
    a search is the processor's own.
    """
    return next(level for code, level in _LOUDEST_FIRST[codec] if code in sound)


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
        sounds: dict[str, list[bytes]] = {}
        silent = False
        for packet in packets[:: max(1, len(packets) // _ASKED)]:
            if len(packet) < HEADER_BYTES or packet[0] != PLAIN:
                continue  # what keeps a NAT open; extensions and padding: not worth a search for the payload
            codec = codecs.get(packet[1] & 0x7F, "")
            if codec in _LOUDEST_FIRST:
                sounds.setdefault(codec, []).append(packet[HEADER_BYTES:])
            elif codec == OPUS.name and len(packet) - HEADER_BYTES <= _DTX_BYTES:
                silent = True
        levels = [FLOOR_DBFS] if silent else []
        levels += [_peak_dbfs(codec, sound) for codec, one in sounds.items() if (sound := b"".join(one))]
        return max(levels, default=None)


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
