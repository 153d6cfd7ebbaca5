"""Sound of RTP packets as they came, and how much of it a jitter buffer would have had in time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from gateway.codecs import payload as payloads
from gateway.codecs.sound import SoundCodecs
from gateway.domain.codecs import CODECS
from gateway.protocol.rtp import parse_header, payload_of
from tests.support.audio import Samples

FULL: Final = 32768


def heard(packets: Sequence[tuple[float, bytes]], codec: str, rate_hz: int, *, wait_s: float | None = None) -> Samples:
    """Return what a receiver makes of *packets*.

    It plays each packet at a fixed time behind the first, and conceals what is not there by then, or not at all, with
    what its codec has: copies and concealment of libopus, repetition of the voice's period for G.711 and G.722.

    Args:
        packets: instants of arrival (s), and RTP.
        codec: of all of them.
        rate_hz: of the sound.
        wait_s: how far behind the earliest packet it plays; None: it waits for ever.
    """
    clock = CODECS[codec].clock_rate_hz
    parsed = [(at_s, parse_header(packet), payload_of(packet)) for at_s, packet in packets]
    first = parsed[0][1].timestamp
    times = [((header.timestamp - first + (1 << 31)) & 0xFFFFFFFF) - (1 << 31) for _, header, _ in parsed]
    earliest = min(at_s - time / clock for (at_s, _, _), time in zip(parsed, times, strict=True))
    there = {
        time: payload
        for (at_s, _, payload), time in zip(parsed, times, strict=True)
        if wait_s is None or at_s - time / clock - earliest <= wait_s
    }
    decoder = SoundCodecs.load().decoder(codec, rate_hz)
    out: list[Samples] = []
    end = 0
    for time in sorted(there):
        payload = there[time]
        while time > end:
            units = min(time - end, clock // 50)
            samples = units * rate_hz // clock
            last = time - end <= clock // 50
            out.append(_cooked(decoder.recover(payload, samples) if last else decoder.conceal(samples)))
            end += units
        sound = decoder.decode(payload)
        out.append(_cooked(sound or b""))
        end = time + payloads.units(codec, payload)
    return np.concatenate(out)


def _cooked(sound: bytes) -> Samples:
    return np.frombuffer(sound, dtype=np.int16).astype(np.float64) / FULL
