"""Lines that packets come by, and what both jitter buffers are driven with."""

from __future__ import annotations

import random
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from gateway.codecs import g711
from tests.unit.wasm.implementations import Wasm
from tests.unit.wasm.vectors import Signal
from wasm_server.media import twin_jitter

RATE_HZ: Final = 8000
LAWS: Final = {"PCMU": 0, "PCMA": 8}
STATS: Final = (
    "packets",
    "wait_ms",
    "short_ms",
    "concealed_ms",
    "late_ms",
    "taken_ms",
    "put_ms",
    "given_up_ms",
    "restarts",
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One packet: when it comes, and what it is."""

    at_s: float
    data: bytes
    law: int
    timestamp: int
    stream: int = 1


class Buffer(Protocol):
    """A jitter buffer with its resampler."""

    def push(self, data: bytes, law: int, timestamp: int, stream: int) -> None: ...
    def read(self, frames: int) -> list[float]: ...
    def stats(self) -> dict[str, float]: ...


class WasmBuffer:
    """media.wasm in wasmtime."""

    def __init__(self, module_path: Path, rate_hz: int) -> None:
        self._wasm = Wasm(module_path, rate_hz)

    def push(self, data: bytes, law: int, timestamp: int, stream: int) -> None:
        self._wasm.write_bytes(self._wasm.call("media_frame"), data)
        signed = struct.unpack("<i", struct.pack("<I", timestamp & 0xFFFFFFFF))[0]
        self._wasm.call("media_jitter_push", len(data), law, signed, stream)

    def read(self, frames: int) -> list[float]:
        self._wasm.call("media_jitter_read", 7, frames)
        return self._wasm.read_floats(self._wasm.call("media_input", 7), frames)

    def skip(self, frames: int) -> None:
        """Have the next frames made, and look at none of them."""
        self._wasm.call("media_jitter_read", 7, frames)

    def stats(self) -> dict[str, float]:
        return {name: self._wasm.call("media_jitter_stat", i) for i, name in enumerate(STATS)}


class TwinBuffer:
    """The same from ``wasm_server.media.twin_jitter``."""

    def __init__(self, rate_hz: int) -> None:
        self._jitter = twin_jitter.Jitter()
        self._resampler = twin_jitter.Resampler(self._jitter, rate_hz)

    def push(self, data: bytes, law: int, timestamp: int, stream: int) -> None:
        self._jitter.push(data, law, timestamp & 0xFFFFFFFF, stream)

    def read(self, frames: int) -> list[float]:
        return self._resampler.read(frames)

    def stats(self) -> dict[str, float]:
        return dict(zip(STATS, self._jitter.stats(), strict=True))


def coded(signal: Signal, codec: str = "PCMU") -> bytes:
    """G.711 of a signal of 8 kHz, full scale 1.0."""
    pcm = np.clip(np.round(signal * 32768), -32768, 32767).astype(np.int16)
    return g711.encode(codec, array("h", pcm.tolist()))


def steady(signal: Signal, codec: str = "PCMU", *, first: int = 0xFFFFFF00, frame: int = 160) -> list[Arrival]:
    """Packets exactly in time; the timestamps wrap in the first one."""
    data = coded(signal, codec)
    return [
        Arrival(start / RATE_HZ, data[start : start + frame], LAWS[codec], first + start)
        for start in range(0, len(data) - frame + 1, frame)
    ]


def jittered(line: Sequence[Arrival], most_s: float, seed: int) -> list[Arrival]:
    """Each packet late by up to *most_s*; they overtake each other."""
    rng = random.Random(seed)
    return [replace(one, one.at_s + rng.uniform(0, most_s)) for one in line]


def lossy(line: Sequence[Arrival], share: float, seed: int) -> list[Arrival]:
    rng = random.Random(seed)
    return [one for one in line if rng.random() >= share]


def drifting(line: Sequence[Arrival], ppm: float) -> list[Arrival]:
    """A sender whose clock is slow by *ppm*."""
    return [replace(one, one.at_s * (1 + ppm * 1e-6)) for one in line]


def stalled(line: Sequence[Arrival], start_s: float, length_s: float) -> list[Arrival]:
    """Nothing comes for a while, then everything at once."""
    end_s = start_s + length_s
    return [replace(one, end_s if start_s <= one.at_s < end_s else one.at_s) for one in line]


def replace(one: Arrival, at_s: float) -> Arrival:
    return Arrival(at_s, one.data, one.law, one.timestamp, one.stream)


def played(buffer: Buffer, line: Sequence[Arrival], rate_hz: int, seconds: float, block: int = 128) -> Signal:
    """What a worklet gives that reads blocks in time, each after the packets that came before it."""
    waiting = sorted(line, key=lambda one: one.at_s)
    sound: list[float] = []
    while len(sound) < seconds * rate_hz:
        while waiting and waiting[0].at_s <= len(sound) / rate_hz:
            one = waiting.pop(0)
            buffer.push(one.data, one.law, one.timestamp, one.stream)
        sound += buffer.read(block)
    return np.array(sound)
