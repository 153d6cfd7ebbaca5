"""The media module and its Python twin behind one face, so that every vector drives both."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import wasmtime

from wasm_server.media import twin


class Implementation(Protocol):
    """One instance: what one worklet node runs."""

    def mix(self, inputs: Sequence[Sequence[float]], frames: int) -> list[float]: ...
    def tone(
        self, hz: tuple[float, float], dbfs: tuple[float, float], frames: int, blocks: Sequence[int]
    ) -> list[float]: ...
    def limit(self, samples: Sequence[float], blocks: Sequence[int]) -> list[float]: ...
    def limit_delay(self) -> int: ...
    def meter(self, samples: Sequence[float], blocks: Sequence[int]) -> dict[str, float]: ...
    def process(self, inputs: Sequence[Sequence[float]], frames: int) -> list[float]: ...
    def start_tone(self, hz: tuple[float, float], dbfs: tuple[float, float], frames: int) -> None: ...
    def read_meter(self) -> dict[str, float]: ...


def cut(samples: Sequence[float], blocks: Sequence[int]) -> list[Sequence[float]]:
    """Cut *samples* into blocks whose lengths repeat *blocks*."""
    parts, start, turn = [], 0, 0
    while start < len(samples):
        length = blocks[turn % len(blocks)]
        parts.append(samples[start : start + length])
        start, turn = start + length, turn + 1
    return parts


class Wasm:
    """media.wasm in wasmtime."""

    def __init__(self, module_path: Path, sample_rate_hz: float) -> None:
        engine = wasmtime.Engine()
        self._store = wasmtime.Store(engine)
        instance = wasmtime.Instance(self._store, wasmtime.Module.from_file(engine, str(module_path)), [])
        self._exports = instance.exports(self._store)
        self._memory = self._exports["memory"]
        self.call("media_init", float(sample_rate_hz))

    def call(self, name: str, *args: float) -> Any:
        return self._exports[name](self._store, *args)  # type: ignore[operator]

    def write_input(self, index: int, samples: Sequence[float]) -> None:
        address = self.call("media_input", index)
        self._memory.write(self._store, struct.pack(f"<{len(samples)}f", *samples), address)  # type: ignore[union-attr]

    def write_output(self, samples: Sequence[float]) -> None:
        address = self.call("media_output")
        self._memory.write(self._store, struct.pack(f"<{len(samples)}f", *samples), address)  # type: ignore[union-attr]

    def write_bytes(self, address: int, data: bytes) -> None:
        self._memory.write(self._store, data, address)  # type: ignore[union-attr]

    def read_output(self, frames: int) -> list[float]:
        return self.read_floats(self.call("media_output"), frames)

    def read_floats(self, address: int, frames: int) -> list[float]:
        raw = self._memory.read(self._store, address, address + 4 * frames)  # type: ignore[union-attr]
        return list(struct.unpack(f"<{frames}f", raw))

    def mix(self, inputs: Sequence[Sequence[float]], frames: int) -> list[float]:
        for index, samples in enumerate(inputs[: self.call("media_max_inputs")]):
            self.write_input(index, samples)
        self.call("media_mix", len(inputs), frames)
        return self.read_output(frames)

    def tone(
        self, hz: tuple[float, float], dbfs: tuple[float, float], frames: int, blocks: Sequence[int]
    ) -> list[float]:
        self.start_tone(hz, dbfs, frames)
        heard: list[float] = []
        left, turn = frames, 0
        while left:
            length = blocks[turn % len(blocks)]
            self.write_output([0.0] * length)
            left = self.call("media_tone", length)
            heard += self.read_output(length)
            turn += 1
        return heard[:frames]

    def limit(self, samples: Sequence[float], blocks: Sequence[int]) -> list[float]:
        limited: list[float] = []
        for part in cut(samples, blocks):
            self.write_output(part)
            self.call("media_limit", len(part))
            limited += self.read_output(len(part))
        return limited

    def limit_delay(self) -> int:
        return int(self.call("media_limit_delay"))

    def meter(self, samples: Sequence[float], blocks: Sequence[int]) -> dict[str, float]:
        for part in cut(samples, blocks):
            self.write_output(part)
            self.call("media_meter", len(part))
        return self.read_meter()

    def process(self, inputs: Sequence[Sequence[float]], frames: int) -> list[float]:
        for index, samples in enumerate(inputs):
            self.write_input(index, samples)
        self.call("media_process", len(inputs), frames)
        return self.read_output(frames)

    def start_tone(self, hz: tuple[float, float], dbfs: tuple[float, float], frames: int) -> None:
        self.call("media_tone_start", hz[0], dbfs[0], hz[1], dbfs[1], frames)

    def read_meter(self) -> dict[str, float]:
        return {
            "rms_dbfs": self.call("media_meter_rms_dbfs"),
            "peak_dbfs": self.call("media_meter_peak_dbfs"),
            "clipped": self.call("media_meter_clipped"),
            "frames": self.call("media_meter_frames"),
            "silent_frames": self.call("media_silent_frames"),
        }


class Twin:
    """The same from ``wasm_server.media.twin``."""

    def __init__(self, sample_rate_hz: float) -> None:
        self._rate = sample_rate_hz
        self._media = twin.Media(sample_rate_hz)

    def mix(self, inputs: Sequence[Sequence[float]], frames: int) -> list[float]:
        return twin.mix(inputs, frames)

    def tone(
        self, hz: tuple[float, float], dbfs: tuple[float, float], frames: int, blocks: Sequence[int]
    ) -> list[float]:
        tone = twin.Tone(self._rate, hz, dbfs, frames)
        heard: list[float] = []
        left, turn = frames, 0
        while left:
            block = [0.0] * blocks[turn % len(blocks)]
            left = tone.add(block)
            heard += block
            turn += 1
        return heard[:frames]

    def limit(self, samples: Sequence[float], blocks: Sequence[int]) -> list[float]:
        return [y for part in cut(samples, blocks) for y in self._media.limiter.run(part)]

    def limit_delay(self) -> int:
        return self._media.limiter.delay_frames

    def meter(self, samples: Sequence[float], blocks: Sequence[int]) -> dict[str, float]:
        for part in cut(samples, blocks):
            self._media.meter.add(part)
        return self.read_meter()

    def process(self, inputs: Sequence[Sequence[float]], frames: int) -> list[float]:
        return self._media.process(inputs, frames)

    def start_tone(self, hz: tuple[float, float], dbfs: tuple[float, float], frames: int) -> None:
        self._media.tone_start(hz, dbfs, frames)

    def read_meter(self) -> dict[str, float]:
        meter = self._media.meter
        return {
            "rms_dbfs": meter.rms_dbfs,
            "peak_dbfs": meter.peak_dbfs,
            "clipped": meter.clipped,
            "frames": meter.frames,
            "silent_frames": meter.silent_frames,
        }
