"""Packets of a codec that the other side does not speak, on their way through a `Transcoder`: numbers, timers, figures.

A `PacketPath` hands such packets over and goes on with all others as it does without.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.codecs.payload import silent
from gateway.codecs.sound import SoundCodecs
from gateway.domain.codecs import CODECS
from gateway.media.keys import KeyTap
from gateway.media.transcode import Frame, Transcoder
from gateway.protocol.rtp import HEADER, PLAIN, OutgoingStream

DEFAULT_PTIME_MS: Final = 20
_MOST_LOSS_PERCENT: Final = 30  # what copies of the packet before help against


class Timer(Protocol):
    """What `schedule` gives; `asyncio.TimerHandle` is one."""

    def cancel(self) -> None:
        """Do not call."""


Schedule = Callable[[float, Callable[[], None]], Timer]
"""Calls a function at a monotonic instant."""


class Path(Protocol):
    """What a conversion needs to know and to count of its path."""

    outgoing: OutgoingStream
    closed: str | None
    key_tap: KeyTap | None
    quiet_until_s: float
    muted: int
    passed: int
    passed_octets: int


@dataclass(frozen=True, slots=True)
class ConversionStats:
    """What conversions did.

    Attributes:
        concealed_ms: sound made in the place of packets that were lost.
        reorder_ms: how long packets are held back now, to be put in order.
        late: packets that came after they had been made good.
        stalled: packets left out since they had waited somewhere.
        malformed: packets that are none of their codec.
    """

    concealed_ms: float = 0.0
    reorder_ms: int = 0
    late: int = 0
    stalled: int = 0
    malformed: int = 0


class Conversion:
    """One direction of one call.

    Args:
        path: whose packets these are.
        codecs: what the machine has.
        deliver: sends a packet.
        schedule: makes timers.
        clock: gives the monotonic instant.
    """

    __slots__ = (
        "_anchored", "_base", "_clock", "_closed", "_codecs", "_deliver", "_done", "_last_sequence", "_last_units",
        "_loss_percent", "_max_bitrate_bps", "_path", "_payload_type", "_ptime_ms", "_schedule", "_timer",
        "_timer_at_s", "_transcoder",
    )  # fmt: skip

    def __init__(
        self,
        path: Path,
        codecs: SoundCodecs,
        deliver: Callable[[bytes], None],
        schedule: Schedule,
        clock: Callable[[], float],
    ) -> None:
        self._path = path
        self._codecs = codecs
        self._deliver = deliver
        self._schedule = schedule
        self._clock = clock
        self._ptime_ms = DEFAULT_PTIME_MS
        self._max_bitrate_bps: int | None = None
        self._loss_percent = 0
        self._transcoder: Transcoder | None = None
        self._done = ConversionStats()  # of transcoders before
        self._payload_type = 0
        self._anchored = False
        self._base = 0  # added to the transcoder's timestamps
        self._last_sequence = -1  # that we sent
        self._last_units = 0
        self._timer: Timer | None = None
        self._timer_at_s = 0.0
        self._closed = False

    def use(self, ptime_ms: int, max_bitrate_bps: int | None) -> None:
        """Let packets of this length, and Opus of at most so many bits a second, leave from now on."""
        if (ptime_ms, max_bitrate_bps) != (self._ptime_ms, self._max_bitrate_bps):
            self._ptime_ms, self._max_bitrate_bps = ptime_ms, max_bitrate_bps
            self._forget()

    def receive(
        self, source: str, target: str, payload_type: int, sequence: int, timestamp: int, payload: bytes, now_s: float
    ) -> None:
        """Take a packet of *source*, to be sent as *target* with *payload_type*."""
        transcoder = self._transcoder
        if transcoder is None or transcoder.source != source or transcoder.target != target:
            self._forget()
            self._transcoder = transcoder = Transcoder(
                source, target, self._ptime_ms, self._codecs, self._max_bitrate_bps
            )
            transcoder.expect_loss(self._loss_percent)
        elif self._anchored and not self._running:  # others have sent in between
            self.restart()
        self._payload_type = payload_type
        for frame in transcoder.receive(sequence, timestamp, payload, now_s):
            self._send(frame, now_s)
        self._arrange(transcoder)

    def expect_loss(self, percent: int) -> None:
        """Prepare for so many of 100 packets to get lost, as the receiver's last report says."""
        self._loss_percent = min(_MOST_LOSS_PERCENT, percent)
        if self._transcoder is not None:
            self._transcoder.expect_loss(self._loss_percent)

    def leave_out(self, sequence: int, now_s: float) -> None:
        """Take the number of a packet that is no sound."""
        if self._transcoder is not None and self._running:
            self._send_all(self._transcoder.leave_out(sequence, now_s), now_s)

    def comfort(self, sequence: int, payload: bytes, now_s: float) -> bool:
        """Take a packet of comfort noise; return whether it is heard."""
        if self._transcoder is None or not self._running or not payload:
            return False
        self._send_all(self._transcoder.comfort(sequence, payload[0] & 0x7F, now_s), now_s)
        return True

    def restart(self) -> None:
        """What comes next is of another stream."""
        self._anchored = False
        if self._transcoder is not None:
            self._transcoder.restart()

    def close(self) -> None:
        """Send nothing more."""
        self._closed = True
        self._forget()

    def stats(self) -> ConversionStats:
        """Return the figures of all conversions so far."""
        if self._transcoder is None:
            return self._done
        done, buffer = self._done, self._transcoder.buffer
        return ConversionStats(
            done.concealed_ms + self._transcoder.concealed_ms,
            buffer.delay_ms,
            done.late + buffer.late,
            done.stalled + buffer.left_out,
            done.malformed + self._transcoder.malformed,
        )

    @property
    def _running(self) -> bool:
        """Whether the packets now are converted ones."""
        return self._anchored and self._path.outgoing.sequence == self._last_sequence

    def _forget(self) -> None:
        stats = self.stats()
        self._done = ConversionStats(stats.concealed_ms, 0, stats.late, stats.stalled, stats.malformed)
        self._transcoder = None
        self._anchored = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _send_all(self, frames: list[Frame], now_s: float) -> None:
        for frame in frames:
            self._send(frame, now_s)
        assert self._transcoder is not None
        self._arrange(self._transcoder)

    def _send(self, frame: Frame, now_s: float) -> None:
        path, transcoder = self._path, self._transcoder
        assert transcoder is not None
        outgoing = path.outgoing
        begins = frame.begins
        if not self._anchored:
            self._anchor(frame, now_s)
            begins = True
        payload, payload_type = frame.payload, self._payload_type
        if len(payload) <= 2 and transcoder.target == "opus":  # DTX: nothing to send (RFC 6716 section 2.1.9)
            return
        sequence = (outgoing.sequence + 1) & 0xFFFF
        timestamp = (self._base + frame.timestamp) & 0xFFFFFFFF
        outgoing.sequence = self._last_sequence = sequence
        outgoing.timestamp = timestamp
        outgoing.sent_at_s = now_s
        self._last_units = frame.units
        if now_s < path.quiet_until_s:
            payload = silent(transcoder.target, payload)
            path.muted += 1
        marker = begins
        if path.key_tap is not None:
            event = path.key_tap.replace(payload_type, payload, timestamp)
            if event is not None:
                payload, timestamp, marker = event
                payload_type = path.key_tap.sender.payload_type
        outgoing.packets += 1
        outgoing.octets += len(payload)
        path.passed += 1
        path.passed_octets += len(payload)
        self._deliver(
            HEADER.pack(PLAIN, payload_type | (0x80 if marker else 0), sequence, timestamp, outgoing.ssrc) + payload
        )

    def _anchor(self, frame: Frame, now_s: float) -> None:
        """Choose the timestamps so that *frame* is the next of the outgoing stream."""
        outgoing = self._path.outgoing
        assert self._transcoder is not None
        clock = CODECS[self._transcoder.target].clock_rate_hz
        outgoing.clock_rate_hz = clock
        if outgoing.sent_at_s is None:
            following = outgoing.timestamp
        else:
            elapsed = round((now_s - outgoing.sent_at_s) * clock)
            following = outgoing.timestamp + max(self._last_units or frame.units, elapsed)
        self._base = following - frame.timestamp
        self._anchored = True

    # time

    def _arrange(self, transcoder: Transcoder) -> None:
        at_s = transcoder.next_timeout()
        if self._timer is not None:
            if at_s is not None and at_s == self._timer_at_s:
                return
            self._timer.cancel()
            self._timer = None
        if at_s is not None and not self._closed:
            self._timer_at_s = at_s
            self._timer = self._schedule(at_s, self._timed_out)

    def _timed_out(self) -> None:
        self._timer = None
        transcoder = self._transcoder
        if transcoder is None or not self._running or self._path.closed is not None:
            return
        now_s = max(self._clock(), self._timer_at_s)
        self._send_all(transcoder.handle_timeout(now_s), now_s)
