"""One direction of a call on a virtual clock: a speaker, a network that loses packets, Ponte's packet path."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.codecs.libopus import OpusLibrary
from gateway.codecs.sound import OpusSettings, SoundCodecs
from gateway.domain.codecs import CODECS, OPUS
from gateway.media.conversion import Conversion
from gateway.media.path import PacketPath, routes
from gateway.protocol.rtp import OutgoingStream, RtpHeader, build_packet
from tests.support.audio import Samples

PACKET_S: Final = 0.02
START_S: Final = 100.0
_JITTER_S: Final = 0.003
_CHROME: Final = OpusSettings(wide_bps=32_000, complexity=9)  # Chrome's own


@dataclass(frozen=True, slots=True)
class Loss:
    """What a network loses.

    Attributes:
        percent: of the packets.
        run: how many in a row, on the average: 1 where each is lost by itself (a Gilbert model).
    """

    percent: float = 0.0
    run: float = 1.0

    def pattern(self, count: int, seed: int) -> list[bool]:
        """Return whether each of *count* packets is lost; the share is as it should be to a packet or two."""
        dice, share = random.Random(seed), self.percent / 100
        if not share:
            return [False] * count
        leave = 1 / self.run
        enter = leave * share / (1 - share)
        best: list[bool] = []
        for _ in range(50):
            lost, found = False, []
            for _ in range(count):
                lost = (
                    dice.random() >= leave
                    if lost and self.run > 1
                    else dice.random() < (enter if self.run > 1 else share)
                )
                found.append(lost)
            if not best or abs(sum(found) - share * count) < abs(sum(best) - share * count):
                best = found
        return best


@dataclass(frozen=True, slots=True)
class Carried:
    """What left Ponte.

    Attributes:
        packets: instants (s) and RTP.
        delays_ms: of each, behind the instant at which its sound came on a network without faults.
        concealed_ms: made good by Ponte.
    """

    packets: list[tuple[float, bytes]]
    delays_ms: list[float]
    concealed_ms: float


class _Timer:
    def __init__(self) -> None:
        self.over = False

    def cancel(self) -> None:
        """Do not call."""
        self.over = True


def speak(sound: Samples, codec: str, loss: Loss) -> list[bytes]:
    """Return the payloads of *sound*, whose rate is `speaking_hz`; Opus as Chrome makes it, with copies on loss."""
    coder = SoundCodecs(OpusLibrary(), _CHROME).encoder(codec, speaking_hz(codec), 20)
    coder.expect_loss(round(loss.percent))
    raw = (sound * 32767).round().astype("int16").tobytes()
    step = 2 * speaking_hz(codec) // 50
    return [coder.encode(raw[at : at + step]) for at in range(0, len(raw) - step + 1, step)]


def speaking_hz(codec: str) -> int:
    """Return the rate that a speaker of *codec* has; WhatsApp's sound has 16 kHz."""
    return 16_000 if codec == OPUS.name else CODECS[codec].sample_rate_hz


def carry(payloads: list[bytes], source: str, target: str, loss: Loss, seed: int) -> Carried:
    """Carry packets of *source* through a path to a side that speaks *target* alone."""
    dice = random.Random(seed + 1)
    path = PacketPath(OutgoingStream(random.Random(seed + 2).getrandbits))
    codecs = SoundCodecs(OpusLibrary(), OpusSettings())
    timers: list[tuple[float, int, Callable[[], None], _Timer]] = []
    order, now, out = itertools.count(), [START_S], list[tuple[float, bytes]]()

    def schedule(at_s: float, callback: Callable[[], None]) -> _Timer:
        timer = _Timer()
        heapq.heappush(timers, (at_s, next(order), callback, timer))
        return timer

    path.conversion = Conversion(path, codecs, lambda packet: out.append((now[0], packet)), schedule, lambda: now[0])
    path.set_routes(routes({96: source}, {target: 97}, target, codecs.names))
    units = CODECS[source].clock_rate_hz // 50
    lost = loss.pattern(len(payloads), seed)
    came = sorted(
        (START_S + n * PACKET_S + dice.uniform(0, _JITTER_S), n) for n in range(len(payloads)) if not lost[n] or n < 5
    )
    for at_s, n in came:
        while timers and timers[0][0] <= at_s:
            due_s, _, callback, timer = heapq.heappop(timers)
            if not timer.over:
                now[0] = due_s
                callback()
        now[0] = at_s
        packet = path.forward(build_packet(RtpHeader(96, n & 0xFFFF, n * units & 0xFFFFFFFF, 5), payloads[n]), at_s)
        if packet is not None:
            out.append((at_s, packet))
    clock = CODECS[target].clock_rate_hz
    first = int.from_bytes(out[0][1][4:8], "big")
    delays = [
        1000 * (at_s - START_S - ((int.from_bytes(packet[4:8], "big") - first) & 0xFFFFFFFF) / clock)
        for at_s, packet in out
    ]
    return Carried(out, delays, path.conversion.stats().concealed_ms)
