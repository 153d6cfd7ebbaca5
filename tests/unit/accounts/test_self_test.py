"""Where a tone got lost that went from a page to the gateway and back."""

from __future__ import annotations

from array import array

import numpy as np
import pytest

from gateway.accounts.self_test import verdict
from gateway.codecs import g711
from gateway.domain.hops import Hop
from gateway.domain.page_audio import PageTest
from gateway.media.echo import Echo, EchoFigures
from gateway.protocol.rtp import HEADER, HEADER_BYTES, OutgoingStream
from tests.support.audio import sine

pytestmark = pytest.mark.unit

GOOD = PageTest(aborted=False, played=True, packets=14, heard_dbfs=-20.0, took_ms=300.0)
BACK = EchoFigures(14, -20.0)


@pytest.mark.parametrize(
    ("page", "echo", "hop"),
    [
        (GOOD, BACK, None),
        (PageTest(False, True, None, -20.0, 300.0), BACK, None),
        (PageTest(False, True, 0, -20.0, 120.0), BACK, None),  # heard before its packets were counted
        (PageTest(False, False, 0, None, None), EchoFigures(), Hop.PAGE_SPEAKER),
        (GOOD, EchoFigures(), Hop.PAGE_TO_GATEWAY),
        (GOOD, EchoFigures(14, -90.0), Hop.PAGE_TO_GATEWAY),
        (PageTest(False, True, 0, -120.0, None), BACK, Hop.PAGE_BUFFER),
        (PageTest(False, True, 14, -120.0, None), BACK, Hop.PAGE_MICROPHONE),
        (PageTest(False, True, 14, None, None), BACK, Hop.PAGE_MICROPHONE),
    ],
)
def test_the_hop_at_which_the_tone_got_lost_is_named(page: PageTest, echo: EchoFigures, hop: Hop | None) -> None:
    proof = verdict(page, echo)
    assert proof.broken is hop
    assert bool(proof.why) == (hop is not None)


class Port:
    payload_types = {"PCMU": 0, "PCMA": 8, "G722": 9, "opus": 111}  # noqa: RUF012

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, packet: bytes) -> None:
        self.sent.append(packet)

    def set_receiver(self, on_rtp: object) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(("codec", "number"), [("PCMU", 0), ("PCMA", 8)])
def test_the_echo_decodes_and_codes_what_comes_as_one_stream(codec: str, number: int) -> None:
    port = Port()
    echo = Echo(port, OutgoingStream(lambda bits: 7))
    payload = g711.encode(codec, array("h", np.round(sine(1000, -20, 0.02, 8000) * 32767).astype(int).tolist()))
    for n in range(4):
        echo.receive(HEADER.pack(0x80, number, n, n * 160, 99) + payload, n * 0.02)
    echo.receive(HEADER.pack(0x80, 111, 4, 640, 99) + b"\x0b", 0.1)
    assert [packet[HEADER_BYTES:] for packet in port.sent] == [payload] * 4
    assert {packet[1] & 0x7F for packet in port.sent} == {number}
    assert echo.figures().packets == 4
    assert echo.figures().peak_dbfs == pytest.approx(-20, abs=0.5)
