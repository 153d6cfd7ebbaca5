"""One codec made into another: packets put in order, decoded, what is lost made good, coded in exact frames.

Pure: packets and instants come in, frames leave, `next_timeout` says when to come back. Nothing is paced while the line
is clean: what a packet completes leaves with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gateway.codecs import payload as payloads
from gateway.codecs.conceal import ComfortNoise
from gateway.codecs.sound import SoundCodecs, meeting_rate_hz, silence
from gateway.domain.codecs import CODECS, OPUS
from gateway.media.reorder import Came, Lost, ReorderBuffer

_CONCEALED_S: Final = 0.1  # at the end of one loss; before that the stream has a gap, as in a pause: it is too late
_COMFORT_MARGIN_S: Final = 0.01  # that a packet may come late before noise takes its place
_OPUS_DTX_BYTES: Final = 2  # a packet no longer than this tells that none follow (RFC 6716 section 2.1.9)
_OPUS_DTX_S: Final = 1.0  # an encoder in DTX sends something every 0.4 s
_NOISE_S: Final = 60.0  # RFC 3389 lets a sender be silent for as long as its noise stays the same
_QUIETEST_DB: Final = 127


@dataclass(frozen=True, slots=True)
class Frame:
    """What leaves.

    Attributes:
        payload: in the target's codec.
        timestamp: by the target's clock, from 0 at the first frame.
        units: how long it lasts.
        begins: it follows a pause.
    """

    payload: bytes
    timestamp: int
    units: int
    begins: bool = False


class Transcoder:
    """One direction of a call, from one codec to another.

    Args:
        source: name of the codec that comes.
        target: name of the codec that leaves.
        ptime_ms: length of the frames that leave.
        codecs: what the machine has.
        max_bitrate_bps: of Opus that leaves.

    Raises:
        Unavailable: a library is missing.
    """

    __slots__ = (
        "_ahead", "_begins", "_comfort_db", "_comfort_until", "_decoder", "_encoder", "_end", "_filled", "_frame_bytes",
        "_frame_units", "_noise", "_rate_hz", "_ready", "_source_clock", "_started", "_target_at",
        "buffer", "concealed_ms", "malformed", "source", "target",
    )  # fmt: skip

    def __init__(
        self, source: str, target: str, ptime_ms: int, codecs: SoundCodecs, max_bitrate_bps: int | None = None
    ) -> None:
        self.source, self.target = source, target
        self._source_clock = CODECS[source].clock_rate_hz
        self._rate_hz = meeting_rate_hz(source, target)
        self._decoder = codecs.decoder(source, self._rate_hz)
        self._encoder = codecs.encoder(target, self._rate_hz, ptime_ms, max_bitrate_bps)
        frame_ms = self._encoder.frame_ms
        self._frame_bytes = 2 * self._rate_hz * frame_ms // 1000
        self._frame_units = CODECS[target].clock_rate_hz * frame_ms // 1000
        self.buffer = ReorderBuffer(self._source_clock)
        self._ready = b""  # decoded, and not yet a frame
        self._end = 0  # timestamp of the source behind what was decoded
        self._started = False
        self._target_at = 0  # timestamp of the next frame
        self._begins = True
        self._comfort_db: int | None = None  # in a pause: level of the noise; -1: the decoder makes it
        self._comfort_until = 0  # timestamp of the source up to which a pause is filled
        self._noise: ComfortNoise | None = None
        self._filled = 0  # timestamp units of the source that noise has filled since the last sound
        self._ahead = 0  # samples that left though the source had none: noise, and then what had only come late
        self.concealed_ms = 0.0
        self.malformed = 0

    def receive(self, sequence: int, timestamp: int, payload: bytes, now_s: float) -> list[Frame]:
        """Take a packet of sound; return the frames that leave now."""
        units = payloads.units(self.source, payload)
        if not units:
            self.malformed += 1
            return self.leave_out(sequence, now_s)
        self.buffer.push(sequence, timestamp, payload, units, now_s)
        return list(self._leaving(now_s))

    def leave_out(self, sequence: int, now_s: float) -> list[Frame]:
        """Take a number for used by a packet that is no sound, such as a telephone-event."""
        self.buffer.push(sequence, self._end & 0xFFFFFFFF, b"", 0, now_s)
        return list(self._leaving(now_s))

    def comfort(self, sequence: int, level_db: int, now_s: float) -> list[Frame]:
        """Take a packet of comfort noise (RFC 3389): from now on the source pauses, and noise is heard.

        Args:
            sequence: its number.
            level_db: of the noise, below 0 dBov.
            now_s: when it came.
        """
        self.buffer.push(sequence, self._end & 0xFFFFFFFF, b"", 0, now_s, tag=level_db)
        return list(self._leaving(now_s))

    def expect_loss(self, percent: int) -> None:
        """Send copies of earlier packets for so many lost ones of 100, where the target knows copies (Opus)."""
        self._encoder.expect_loss(percent)

    def handle_timeout(self, now_s: float) -> list[Frame]:
        """Return the frames that leave by now."""
        return list(self._leaving(now_s))

    def next_timeout(self) -> float | None:
        """Return when to come back, None: with the next packet."""
        held = self.buffer.next_timeout()
        pause = self._comfort_due()
        if held is None or pause is None:
            return held if pause is None else pause
        return min(held, pause)

    def restart(self) -> None:
        """The next packet is of another stream: nothing before it is waited for."""
        self.buffer.restart()
        self._started = False
        self._comfort_db = None
        self._filled = self._ahead = 0

    def _leaving(self, now_s: float) -> Iterator[Frame]:
        while (found := self.buffer.pull(now_s)) is not None:
            if isinstance(found, Lost):
                yield from self._lost(found)
            elif found.units:
                yield from self._came(found)
            elif isinstance(found.tag, int):
                self._pause(found.tag, _NOISE_S)
        while (due := self._comfort_due()) is not None and due <= now_s + 1e-4:
            if now_s - due > _CONCEALED_S:  # we stood still: a burst would stay in the receiver's buffer as delay
                units = self._frame_bytes // 2 * self._source_clock // self._rate_hz
                self._end += units
                self._filled += units
                self._target_at += self._frame_units
                self._begins = True
            else:
                yield from self._fill(self._frame_bytes // 2)

    # sound in

    def _came(self, packet: Came) -> Iterator[Frame]:
        if not self._started:
            self._started = True
            self._end = packet.timestamp
        gap = packet.timestamp - self._end
        if gap > 0:
            yield from self._over(gap)
        else:
            self._ahead += self._samples(min(-gap, self._filled))
        self._comfort_db = None
        self._filled = 0
        sound = self._decoder.decode(packet.payload)
        if sound is None:
            self.malformed += 1
            sound = self._decoder.conceal(self._samples(packet.units))
        self._end = packet.timestamp + packet.units
        yield from self._add(sound)
        if self.source == OPUS.name and len(packet.payload) <= _OPUS_DTX_BYTES:
            self._pause(-1, _OPUS_DTX_S)

    def _lost(self, lost: Lost) -> Iterator[Frame]:
        samples = self._samples(lost.units)
        end = lost.timestamp + lost.units
        if not samples or end <= self._end or samples * (lost.more + 1) > _CONCEALED_S * self._rate_hz:
            return  # nothing; filled by noise; long ago
        if lost.timestamp > self._end:
            yield from self._over(lost.timestamp - self._end)
        if lost.following is not None:
            sound = self._decoder.recover(lost.following, samples)
        else:
            sound = self._decoder.conceal(samples)
        self.concealed_ms += 1000 * samples / self._rate_hz
        self._end = end
        yield from self._add(sound)

    def _over(self, gap: int) -> Iterator[Frame]:
        """Go over a pause of the source: what was begun is completed, then the stream goes on later."""
        samples = self._samples(gap)
        begun = len(self._ready) // 2
        if self._comfort_db is not None and samples <= _CONCEALED_S * self._rate_hz:
            yield from self._fill(samples)
            return
        samples -= self._made_up(samples)
        if begun:
            fill = min(samples, self._frame_bytes // 2 - begun)
            samples -= fill
            yield from self._add(silence(fill))
        frame = self._frame_bytes // 2
        whole, rest = divmod(samples, frame)
        if whole:
            self._target_at += whole * self._frame_units
            self._begins = True
        if rest:
            yield from self._add(silence(rest))

    # pauses

    def _pause(self, level_db: int, longest_s: float) -> None:
        self._comfort_db = level_db
        self._comfort_until = self._end + round(longest_s * self._source_clock)

    def _comfort_due(self) -> float | None:
        """Return when noise has to take the place of packets that do not come."""
        if self._comfort_db is None or self._end >= self._comfort_until or not self._started:
            return None
        frame_s = self._frame_bytes / 2 / self._rate_hz
        return self.buffer.due_s(self._end) + frame_s + _COMFORT_MARGIN_S

    def _made_up(self, samples: int) -> int:
        """Return how many of the next *samples* of a pause are left out, for those that left too many before it."""
        count = min(self._ahead, samples)
        self._ahead -= count
        return count

    def _fill(self, samples: int) -> Iterator[Frame]:
        units = samples * self._source_clock // self._rate_hz
        self._end += units
        self._filled += units
        samples -= self._made_up(samples)
        if not samples:
            return
        if self._comfort_db is None or self._comfort_db < 0:
            sound = self._decoder.conceal(samples)
        else:
            if self._noise is None:
                self._noise = ComfortNoise(self._rate_hz)
            sound = self._noise.samples(samples, min(_QUIETEST_DB, self._comfort_db))
        yield from self._add(sound)

    # sound out

    def _samples(self, units: int) -> int:
        return units * self._rate_hz // self._source_clock

    def _add(self, sound: bytes) -> Iterator[Frame]:
        frame = self._frame_bytes
        ready = self._ready + sound if self._ready else sound
        if len(ready) == frame:
            self._ready = b""
            yield self._frame(ready)
            return
        at = 0
        while len(ready) - at >= frame:
            yield self._frame(ready[at : at + frame])
            at += frame
        self._ready = ready[at:]

    def _frame(self, sound: bytes) -> Frame:
        units = self._frame_units
        frame = Frame(self._encoder.encode(sound), self._target_at, units, self._begins)
        self._target_at += units
        self._begins = False
        return frame
