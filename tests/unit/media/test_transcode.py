"""A `Transcoder` on a virtual clock: exact frames, losses, pauses, stalls."""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pytest

from gateway.codecs import payload as payloads
from gateway.codecs.libopus import OpusLibrary
from gateway.codecs.sound import OpusSettings, SoundCodecs, SoundEncoder, meeting_rate_hz
from gateway.domain.codecs import CODECS
from gateway.media.transcode import Frame, Transcoder
from tests.support.audio import Samples

pytestmark = pytest.mark.unit

PTIMES = [10, 20, 30, 40, 50, 60]
PAIRS = [("opus", "PCMU"), ("PCMA", "opus"), ("opus", "G722"), ("G722", "opus"), ("PCMU", "G722"), ("G722", "PCMA")]
START_S = 10.0
LIBRARY = SoundCodecs(OpusLibrary(), OpusSettings(expected_loss_percent=20))


def raw(samples: Samples) -> bytes:
    return array("h", [max(-32768, min(32767, round(float(x)))) for x in samples]).tobytes()


def tone(rate_hz: int, seconds: float, hz: float = 1004) -> Samples:
    return 8000 * np.sin(2 * np.pi * hz * np.arange(round(rate_hz * seconds)) / rate_hz)


@dataclass
class Run:
    """Sends a tone through a transcoder and keeps what leaves, with its instant."""

    source: str
    target: str
    source_ptime_ms: int = 20
    ptime_ms: int = 20
    seconds: float = 2.0
    left: list[tuple[float, Frame]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.transcoder = Transcoder(self.source, self.target, self.ptime_ms, LIBRARY)
        rate_hz = 16000 if self.source == "opus" else CODECS[self.source].sample_rate_hz
        coder: SoundEncoder = LIBRARY.encoder(self.source, rate_hz, self.source_ptime_ms)
        step = rate_hz * self.source_ptime_ms // 1000
        sound = tone(rate_hz, self.seconds)
        self.packets = [coder.encode(raw(sound[at : at + step])) for at in range(0, len(sound) - step + 1, step)]
        self.units = CODECS[self.source].clock_rate_hz * self.source_ptime_ms // 1000
        self.clock_hz = CODECS[self.target].clock_rate_hz

    def at(self, n: int) -> float:
        return START_S + n * self.source_ptime_ms / 1000

    def timers(self, until_s: float) -> None:
        for _ in range(10_000):
            due = self.transcoder.next_timeout()
            if due is None or due > until_s:
                return
            self.left += [(due, frame) for frame in self.transcoder.handle_timeout(due)]
        raise AssertionError("a timer that does nothing goes off for ever")

    def feed(self, numbers: Iterable[int] | None = None, *, delay_s: dict[int, float] | None = None) -> Run:
        chosen = range(len(self.packets)) if numbers is None else numbers
        came = sorted((self.at(n) + (delay_s or {}).get(n, 0.0), n) for n in chosen)
        for now_s, n in came:
            self.timers(now_s)
            frames = self.transcoder.receive(
                (n + 65_500) & 0xFFFF, (n * self.units + 0xFFFFF000) & 0xFFFFFFFF, self.packets[n], now_s
            )
            self.left += [(now_s, frame) for frame in frames]
        return self

    def heard(self) -> Samples:
        rate_hz = meeting_rate_hz(self.source, self.target)
        decoder = LIBRARY.decoder(self.target, rate_hz)
        return np.concatenate(
            [
                np.frombuffer(decoder.decode(frame.payload) or b"", dtype=np.int16).astype(float)
                for _, frame in self.left
            ]
        )


def follow_on(run: Run) -> bool:
    return all(
        later.timestamp == earlier.timestamp + earlier.units
        for (_, earlier), (_, later) in zip(run.left, run.left[1:], strict=False)
    )


@pytest.mark.parametrize("ptime_ms", PTIMES)
@pytest.mark.parametrize("source_ptime_ms", PTIMES)
@pytest.mark.parametrize(("source", "target"), [("opus", "PCMU"), ("PCMA", "opus")])
def test_frames_are_exact_for_any_pair_of_lengths(
    source: str, target: str, source_ptime_ms: int, ptime_ms: int
) -> None:
    run = Run(source, target, source_ptime_ms, ptime_ms, seconds=0.6).feed()
    units = CODECS[target].clock_rate_hz * ptime_ms // 1000
    assert [frame.units for _, frame in run.left] == [units] * (len(run.packets) * source_ptime_ms // ptime_ms)
    assert all(payloads.units(target, frame.payload) == units for _, frame in run.left)
    assert follow_on(run)
    # each leaves with the packet that completes it
    for n, (left_s, _) in enumerate(run.left):
        needed = math.ceil((n + 1) * ptime_ms / source_ptime_ms) - 1
        assert left_s == run.at(needed)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_tone_arrives_as_a_tone_at_its_level(source: str, target: str) -> None:
    run = Run(source, target).feed()
    sound = run.heard()[len(run.heard()) // 2 :]
    rate_hz = meeting_rate_hz(source, target)
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    assert np.argmax(spectrum) * rate_hz / len(sound) == pytest.approx(1004, abs=2)
    assert 20 * math.log10(np.sqrt(np.mean(sound**2)) / (8000 / math.sqrt(2))) == pytest.approx(0, abs=0.4)
    assert follow_on(run)
    assert run.transcoder.concealed_ms == 0


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_lost_packets_are_made_good_and_the_stream_has_no_gap(source: str, target: str) -> None:
    run = Run(source, target, seconds=4)
    lost = set(range(20, 190, 15))
    run.feed(n for n in range(len(run.packets)) if n not in lost)
    assert len(run.left) >= len(run.packets) - 2
    assert follow_on(run)
    assert run.transcoder.concealed_ms == 20 * len(lost)
    sound, rate_hz = run.heard(), meeting_rate_hz(source, target)
    steps = [np.sqrt(np.mean(part**2)) for part in np.array_split(sound[rate_hz:], len(sound) // (rate_hz // 50))]
    assert min(steps) > 0.4 * 8000 / math.sqrt(2)


def test_on_a_lossy_line_frames_leave_evenly() -> None:
    run = Run("opus", "PCMU", seconds=4)
    run.feed(n for n in range(len(run.packets)) if n % 12 != 6)
    later = [at_s for at_s, _ in run.left[60:]]
    steps = [1000 * (b - a) for a, b in itertools.pairwise(later)]
    assert max(steps) < 21
    assert run.transcoder.buffer.delay_ms == 30


def test_packets_that_overtake_each_other_are_put_in_order() -> None:
    run = Run("opus", "PCMU", seconds=4)
    run.feed(delay_s=dict.fromkeys(range(5, 200, 7), 0.03))
    assert follow_on(run)
    assert run.transcoder.buffer.late <= 3
    assert run.transcoder.concealed_ms <= 60


def test_a_stall_ends_without_a_burst_and_without_delay() -> None:
    run = Run("opus", "PCMU", seconds=4)
    run.feed(delay_s={n: run.at(90) - run.at(n) - 0.004 + (n - 60) * 1e-4 for n in range(60, 90)})
    during = [at_s for at_s, _ in run.left if run.at(60) <= at_s < run.at(90) + 0.002]
    assert len(during) <= 7
    # where the stream stands, by its timestamps, is again where the clock is
    ends = run.left[-1]
    assert ends[1].timestamp / run.clock_hz == pytest.approx(ends[0] - START_S, abs=0.001)
    assert sum(frame.begins for _, frame in run.left) == 2


def test_a_long_loss_is_a_gap_in_the_end() -> None:
    run = Run("PCMU", "opus", seconds=3)
    run.feed(n for n in range(150) if not 50 <= n < 100)
    run.timers(run.at(160))
    assert run.left[-1][1].timestamp == 149 * 960
    assert run.transcoder.concealed_ms <= 100
    assert sum(frame.begins for _, frame in run.left) == 2


def test_a_pause_of_an_encoder_that_says_so_is_filled_with_noise() -> None:
    run = Run("opus", "PCMU", seconds=2)
    run.packets[30] = b"\x48"  # nothing but the first byte (RFC 6716 section 2.1.9)
    for number, n in enumerate(n for n in range(100) if not 30 < n < 50):
        run.timers(run.at(n))
        run.left += [(run.at(n), f) for f in run.transcoder.receive(number, n * 960, run.packets[n], run.at(n))]
    assert run.transcoder.concealed_ms == 0
    assert len(run.left) == pytest.approx(100, abs=1)
    assert follow_on(run)
    assert max(b - a for (a, _), (b, _) in zip(run.left, run.left[1:], strict=False)) < 0.055


def test_a_pause_without_a_word_stays_one() -> None:
    run = Run("opus", "PCMU", 20, 30, seconds=2)
    transcoder = run.transcoder
    for n in range(40):
        run.timers(run.at(n))
        run.left += [(run.at(n), frame) for frame in transcoder.receive(n, n * 960, run.packets[n], run.at(n))]
    resumed = 40 * 960 + 48_000  # a second later, its number is the next
    for n in range(40, 60):
        at_s = run.at(n) + 1.0
        run.left += [(at_s, frame) for frame in transcoder.receive(n, resumed + (n - 40) * 960, run.packets[n], at_s)]
    gaps = [(b.timestamp - a.timestamp, b.begins) for (_, a), (_, b) in zip(run.left, run.left[1:], strict=False)]
    jumps = [gap for gap in gaps if gap[0] != 240]
    assert len(jumps) == 1
    assert jumps[0][1]
    assert jumps[0][0] == pytest.approx(8000, abs=480)
    assert run.left[-1][1].timestamp == pytest.approx(8 * (58 * 20 + 1000), abs=480)


def test_comfort_noise_of_the_peer_is_heard_at_its_level() -> None:
    run = Run("PCMU", "opus", seconds=2)
    transcoder = run.transcoder
    run.feed(range(10))
    frames = transcoder.comfort((10 + 65_500) & 0xFFFF, 40, run.at(10))
    assert frames == []
    run.timers(run.at(60))
    assert len(run.left) == pytest.approx(60, abs=2)
    sound = run.heard()[4000:]
    assert 20 * math.log10(np.sqrt(np.mean(sound**2)) / 32768) == pytest.approx(-40, abs=3)
    assert follow_on(run)
    left = len(run.left)
    run.timers(run.at(60 * 61 * 50))
    assert len(run.left) < left + 62 * 50  # a peer that is gone is not noise for ever


def test_what_is_malformed_is_counted_and_takes_its_number() -> None:
    run = Run("PCMU", "opus")
    run.packets[5] = b""
    run.feed(range(20))
    assert run.transcoder.malformed == 1
    assert len(run.left) >= 19


@pytest.mark.parametrize("target", ["opus", "G722"])
def test_first_words_that_come_after_noise_took_their_place_add_no_delay(target: str) -> None:
    transcoder = Transcoder("PCMU", target, 20, LIBRARY)
    late_s = {0: 0.045, 1: 0.026, 2: 0.006}  # of each time that somebody begins to speak
    came: list[tuple[float, int, int, bool]] = []
    timestamp = sequence = 0
    for spurt in range(30):
        for n in range(10):
            came.append((START_S + timestamp / 8000 + late_s.get(n, 0.0), sequence, timestamp, True))
            timestamp, sequence = timestamp + 160, sequence + 1
        came.append((START_S + timestamp / 8000, sequence, timestamp, False))
        timestamp, sequence = timestamp + 6400 + 23 * (spurt % 7), sequence + 1
    ahead_s: list[float] = []
    for now_s, number, at, sound in sorted(came):
        while (due := transcoder.next_timeout()) is not None and due <= now_s:
            transcoder.handle_timeout(due)
        if not sound:
            transcoder.comfort(number, 60, now_s)
            continue
        for frame in transcoder.receive(number, at, b"\xff" * 160, now_s):
            ahead_s.append(frame.timestamp / CODECS[target].clock_rate_hz - (now_s - START_S))
    assert len(ahead_s) > 250
    assert max(ahead_s) < 0.05


def test_noise_that_was_due_while_we_stood_still_does_not_leave_in_a_burst() -> None:
    transcoder = Transcoder("PCMU", "G722", 20, LIBRARY)
    for n in range(10):
        transcoder.receive(n, n * 160, b"\xff" * 160, START_S + n * 0.02)
    transcoder.comfort(10, 60, START_S + 0.2)
    assert len(transcoder.handle_timeout(START_S + 0.25)) == 2
    left = transcoder.handle_timeout(START_S + 5.0)
    assert 0 < len(left) <= 6
    assert left[0].begins
    assert left[-1].timestamp / 8000 == pytest.approx(4.96, abs=0.03)  # where it would be had nothing happened
