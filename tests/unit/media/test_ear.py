"""How loud the packet path is, by a look at what passes."""

from __future__ import annotations

from array import array

import numpy as np
import pytest

from gateway.codecs import g711
from gateway.media.ear import Ear
from gateway.protocol.rtp import HEADER
from tests.support.audio import sine

pytestmark = pytest.mark.unit

CODECS = {0: "PCMU", 8: "PCMA", 9: "G722", 111: "opus"}


def packets(payload_type: int, dbfs: float, count: int = 50) -> list[bytes]:
    pcm = array("h", np.round(sine(1000, dbfs, 0.02, 8000) * 32767).astype(int).tolist())
    payload = g711.encode(CODECS[payload_type], pcm)
    return [HEADER.pack(0x80, payload_type, n, n * 160, 1) + payload for n in range(count)]


@pytest.mark.parametrize("payload_type", [0, 8])
@pytest.mark.parametrize("dbfs", [-3.0, -20.0, -40.0])
def test_the_level_of_g711_is_its_peak(payload_type: int, dbfs: float) -> None:
    ear = Ear()
    for packet in packets(payload_type, dbfs):
        ear.take(packet)
    assert ear.peak_dbfs(CODECS) == pytest.approx(dbfs, abs=0.6)
    assert ear.peak_dbfs(CODECS) is None, "nothing came since"


def test_a_syllable_in_a_second_of_silence_is_heard() -> None:
    ear = Ear()
    line = packets(0, -120)
    line[20:24] = packets(0, -20, 4)
    for packet in line:
        ear.take(packet)
    level = ear.peak_dbfs(CODECS)
    assert level is not None
    assert level > -25


def test_silence_is_silent_and_what_is_not_decoded_is_not_told() -> None:
    ear = Ear()
    ear.take(HEADER.pack(0x80, 0, 1, 1, 1) + b"\xff" * 160)
    assert ear.peak_dbfs(CODECS) == -120
    for payload_type, payload in ((9, b"\x55" * 160), (111, b"\x0b" * 60), (101, b"\1\2\3\4"), (0, b"")):
        ear.take(HEADER.pack(0x80, payload_type, 1, 1, 1) + payload)
        assert ear.peak_dbfs(CODECS) is None
    ear.take(HEADER.pack(0x80, 111, 1, 1, 1) + b"\x0b")
    assert ear.peak_dbfs(CODECS) == -120, "Opus that sends nothing"
