"""A recorder whose disk does not answer."""

from __future__ import annotations

import threading
from array import array
from pathlib import Path

import pytest

from gateway.codecs import g711
from gateway.domain.recording import RecordingFormat, RecordingSpec, RecordingState
from gateway.media import recorder as module
from gateway.media.recorder import Recorder
from gateway.protocol.rtp import HEADER

pytestmark = pytest.mark.unit


class SlowFile:
    """A file on a disk that spins up."""

    bytes = 0

    def __init__(self) -> None:
        self.busy, self.ready = threading.Event(), threading.Event()
        self.left = array("h")

    def write(self, left: array[int], right: array[int]) -> None:
        self.busy.set()
        assert self.ready.wait(10)
        self.left += left

    def close(self) -> None:
        pass


def test_what_is_said_after_a_stop_is_not_recorded_though_the_disk_hears_of_it_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = SlowFile()

    def opened(folder: Path, name: str, kind: RecordingFormat) -> SlowFile:
        return file

    monkeypatch.setattr(module, "open_sound_file", opened)
    now_s = [100.0]
    recorder = Recorder(RecordingSpec("nowhere", "c1"), lambda status: None, lambda: now_s[0])
    loud = g711.encode("PCMU", array("h", [9000, -9000] * 80))

    def say(first: int, count: int) -> None:
        for n in range(first, first + count):
            packet = HEADER.pack(0x80, 0, n, n * 160, 7) + loud
            recorder.hear("wa_to_sip", "PCMU", packet, 100.0 + n * 0.02)

    try:
        say(0, 50)
        now_s[0] = 101.0
        assert file.busy.wait(10)  # and there it hangs
        assert recorder.stop(timeout_s=0.01).state is RecordingState.STOPPED
        say(50, 50)  # a card's number
        now_s[0] = 102.0
        assert recorder.start(timeout_s=0.01).state is RecordingState.RECORDING
        assert recorder.stop(timeout_s=0.01).state is RecordingState.STOPPED
        now_s[0] = 103.0
    finally:
        file.ready.set()
        recorder.close()
    assert max(file.left[: 16_000 // 2]) > 8000
    assert not any(file.left[16_000 + 800 :])
