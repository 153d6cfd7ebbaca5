"""A tone for the SIP peer in place of the page's sound: ringback, and what is heard where a call could not be had.

The page sends nothing before its call is answered, so the packets are made here, by a timer, as the next ones of the
stream that the page's packets become. They are made and sent for as long as the tone is wanted, and no longer.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from typing import Final, Protocol

from gateway.codecs.levels import from_dbfs
from gateway.codecs.sound import SoundCodecs, SoundEncoder
from gateway.domain.call_tones import CadencePart
from gateway.domain.codecs import CODECS, G711, OPUS
from gateway.media.conversion import Schedule, Timer
from gateway.protocol.rtp import HEADER, PLAIN, OutgoingStream

FRAME_MS: Final = 20
LEVEL_DBFS: Final = -16.0  # of the whole: -13 dBm0, in the range of ITU-T E.180
FADE_MS: Final = 8
_LATE_S: Final = 0.1  # a machine that stood still sends no burst
_WIDE_HZ: Final = 16_000


class CadenceSound:
    """The samples of a rhythm that is repeated until it is stopped. Each part fades in and out.

    Args:
        parts: of the rhythm.
        rate_hz: samples per second.
    """

    def __init__(self, parts: tuple[CadencePart, ...], rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._parts = [(part.hz, part.ms * rate_hz // 1000) for part in parts]
        self._fade = FADE_MS * rate_hz // 1000
        self._index = 0
        self._at = 0  # sample of the part

    @property
    def sounding(self) -> bool:
        """Whether a tone, and no pause, comes next."""
        return bool(self._parts[self._index][0])

    def take(self, count: int) -> array[int]:
        """Return the next *count* samples."""
        out = array("h")
        while len(out) < count:
            hz, length = self._parts[self._index]
            until = min(length, self._at + count - len(out))
            out.extend(self._sound(hz, self._at, until, length))
            self._at = until
            if until == length:
                self._index, self._at = (self._index + 1) % len(self._parts), 0
        return out

    def ending(self, count: int) -> array[int]:
        """Return *count* samples in which the tone that would come next fades out."""
        hz, length = self._parts[self._index]
        last = min(length, self._at + self._fade)
        out = self._sound(hz, self._at, last, last)
        return out + array("h", bytes(2 * (count - len(out))))

    def _sound(self, hz: tuple[int, ...], start: int, until: int, length: int) -> array[int]:
        if not hz:
            return array("h", bytes(2 * (until - start)))
        peak = from_dbfs(LEVEL_DBFS) / math.sqrt(len(hz))
        steps = [2 * math.pi * one / self._rate_hz for one in hz]
        fade = self._fade
        return array(
            "h",
            (
                round(min(1.0, n / fade, (length - n) / fade) * peak * sum(math.sin(step * n) for step in steps))
                for n in range(start, until)
            ),
        )


class Path(Protocol):
    """What a tone needs of the path whose place it takes."""

    outgoing: OutgoingStream


class CallTone:
    """A tone that is being played.

    Args:
        path: the direction towards the SIP peer, which passes nothing on meanwhile.
        parts: of the tone's rhythm.
        codecs: what the machine has.
        target: gives the codec that the peer is sent and its payload type; None: it may be sent nothing now.
        deliver: sends a packet.
        schedule: makes timers.
        clock: gives the monotonic instant.
    """

    def __init__(
        self,
        path: Path,
        parts: tuple[CadencePart, ...],
        codecs: SoundCodecs,
        target: Callable[[], tuple[str, int] | None],
        deliver: Callable[[bytes], None],
        schedule: Schedule,
        clock: Callable[[], float],
    ) -> None:
        self._path = path
        self._parts = parts
        self._codecs = codecs
        self._target = target
        self._deliver = deliver
        self._schedule = schedule
        self._clock = clock
        self._codec = ""
        self._sound = CadenceSound(parts, _WIDE_HZ)
        self._encoder: SoundEncoder | None = None
        self._timer: Timer | None = None
        self._due_s = clock()
        self._begins = True
        self._turn()

    def stop(self) -> None:
        """Send no more, but the fading of a tone that is heard."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        target = self._target()
        if target is not None and target[0] == self._codec and not self._begins and self._sound.sounding:
            self._send(self._sound.ending(self._samples), target[1])

    @property
    def _samples(self) -> int:
        return (CODECS[self._codec].sample_rate_hz if self._codec in G711 else _WIDE_HZ) * FRAME_MS // 1000

    def _turn(self) -> None:
        now_s = self._clock()
        if now_s - self._due_s > _LATE_S:
            self._due_s, self._begins = now_s, True
        target = self._target()
        if target is None:
            self._begins = True
        else:
            if target[0] != self._codec:
                self._use(target[0])
            self._send(self._sound.take(self._samples), target[1])
        self._due_s += FRAME_MS / 1000
        self._timer = self._schedule(self._due_s, self._turn)

    def _use(self, codec: str) -> None:
        """Begin anew in another codec."""
        rate_hz = CODECS[codec].sample_rate_hz if codec in G711 else _WIDE_HZ
        self._encoder = None
        if codec != OPUS.name or codec in self._codecs.names:  # else it cannot be made here, and is left out
            self._encoder = self._codecs.encoder(codec, rate_hz, FRAME_MS)
        self._codec, self._sound, self._begins = codec, CadenceSound(self._parts, rate_hz), True

    def _send(self, samples: array[int], payload_type: int) -> None:
        if self._encoder is None:
            return
        payload = self._encoder.encode(samples.tobytes())
        outgoing, now_s = self._path.outgoing, self._clock()
        clock_hz = CODECS[self._codec].clock_rate_hz
        units = clock_hz * FRAME_MS // 1000
        begins, self._begins = self._begins, False
        step = units
        if begins:
            outgoing.clock_rate_hz = clock_hz
            step = 0 if outgoing.sent_at_s is None else max(units, round((now_s - outgoing.sent_at_s) * clock_hz))
        outgoing.sequence = (outgoing.sequence + 1) & 0xFFFF
        outgoing.timestamp = (outgoing.timestamp + step) & 0xFFFFFFFF
        outgoing.sent_at_s = now_s
        outgoing.packets += 1
        outgoing.octets += len(payload)
        marker_type = payload_type | (0x80 if begins else 0)
        self._deliver(HEADER.pack(PLAIN, marker_type, outgoing.sequence, outgoing.timestamp, outgoing.ssrc) + payload)
