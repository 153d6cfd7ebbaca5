"""The compiled packet path does what its source does where it is interpreted."""

from __future__ import annotations

import importlib.util
import random
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gateway
from gateway.media import lock, path
from gateway.media.compiled import Compiled, packet_path
from gateway.protocol import rtp
from gateway.protocol.rtp import RtpHeader, build_packet

pytestmark = pytest.mark.property

HERE: Final = Path(gateway.__file__).parent
RECEIVE: Final = {0: "PCMU", 8: "PCMA", 9: "G722", 101: "telephone-event", 111: "opus"}
SEND: Final = {"PCMU": 0, "opus": 96}
SOURCES: Final = (0x1111, 0x2222, 0x3333)
ADDRESSES: Final = (("192.0.2.1", 4000), ("192.0.2.2", 4000), ("198.51.100.9", 53))
JUMPS: Final = (1, 1, 1, 1, 0, 2, 5, -1, -3, 90, 4000, -200)


def interpreted(name: str) -> ModuleType:
    """Return a module as it is without its compiled one, beside the one that is in use."""
    spec = importlib.util.spec_from_file_location(f"interpreted.{name}", HERE / f"{name.replace('.', '/')}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look
    spec.loader.exec_module(module)
    return module


PLAIN_RTP: Final = interpreted("protocol.rtp")
PLAIN_PATH: Final = interpreted("media.path")
PLAIN_LOCK: Final = interpreted("media.lock")
PLAIN_PATH.__dict__["Reception"] = PLAIN_RTP.Reception


@dataclass(frozen=True)
class Step:
    """What comes next, and what is changed before."""

    jump: int
    ticks: int
    after_s: float
    source: int
    payload_type: int
    first: int
    payload: bytes
    marker: bool
    change: str
    sender: int


steps = st.builds(
    Step,
    st.sampled_from(JUMPS),
    st.sampled_from((160, 160, 160, 0, 960, -160, 100_000, 1 << 31)),
    st.sampled_from((0.02, 0.02, 0.02, 0.0, 0.001, 0.4, 3.0)),
    st.sampled_from((0, 0, 0, 0, 1, 2)),
    st.sampled_from((0, 0, 0, 0, 8, 8, 9, 13, 77, 101, 111)),
    st.sampled_from((0x80, 0x80, 0x80, 0x90, 0xB1, 0x40)),
    st.binary(max_size=24),
    st.booleans(),
    st.sampled_from(("", "", "", "", "", "", "hold", "resume", "quiet", "redirect")),
    st.sampled_from((0, 0, 0, 1, 2)),
)


def packets(course: list[Step]) -> list[tuple[Step, bytes, float]]:
    """Return the packet and the instant of each step."""
    found, sequence, timestamp, now_s = [], 65_500, 0xFFFFF000, 100.0
    for step in course:
        sequence, timestamp, now_s = (
            (sequence + step.jump) & 0xFFFF,
            (timestamp + step.ticks) & 0xFFFFFFFF,
            now_s + step.after_s,
        )
        header = RtpHeader(step.payload_type, sequence, timestamp, SOURCES[step.source], step.marker)
        found.append((step, bytes([step.first]) + build_packet(header, step.payload)[1:], now_s))
    return found


def passed(paths: Any, packet_format: Any, course: list[Step]) -> list[Any]:
    """Return what a packet path makes of *course*, and all that it counted."""
    chance = random.Random(7).getrandbits
    one = paths.PacketPath(packet_format.OutgoingStream(chance))
    one.set_routes(paths.routes(RECEIVE, SEND, "PCMU"))
    events: list[Any] = []

    def on_event(*told: Any) -> bool:
        events.append(told)
        return len(events) % 2 == 0

    one.on_event = on_event
    found: list[Any] = []
    for step, packet, now_s in packets(course):
        match step.change:
            case "hold":
                one.closed = "hold"
            case "resume":
                one.closed = None
            case "quiet":
                one.quiet_until_s = now_s + 0.05
            case "redirect":
                one.redirect(packet_format.OutgoingStream(chance))
        found.append((one.accepts(packet), one.forward(packet, now_s)))
    stream, came = one.outgoing, one.reception
    return [
        found, events, one.passed, one.passed_octets, one.transcoded, one.muted, one.dropped, one.dropped_types,
        stream.sequence, stream.timestamp, stream.packets, stream.octets, stream.sent_at_s, came.packets, came.octets,
        came.lost, came.gaps, came.changes, came.jitter, came.jitter_ms, came.extended_sequence, came.last_at_s,
        came.take_fraction_lost(),
    ]  # fmt: skip


def believed(locks: Any, course: list[Step]) -> list[Any]:
    """Return whom a source lock believes in the course of it."""
    one = locks.SourceLock(lambda packet: packet[1] & 0x7F < 96, lambda: SOURCES[0])
    one.signal(ADDRESSES[0], 0.0)
    found: list[Any] = []
    for step, packet, now_s in packets(course):
        one.frozen = step.change == "hold"
        if step.change == "redirect":
            one.signal(ADDRESSES[2], now_s)
        found.append((one.admit(ADDRESSES[step.sender], packet, now_s), one.locked, one.target, one.changes))
    return found


@given(st.lists(steps, max_size=60))
def test_the_packet_path_passes_on_and_counts_the_same(course: list[Step]) -> None:
    assert passed(path, rtp, course) == passed(PLAIN_PATH, PLAIN_RTP, course)


@given(st.lists(steps, max_size=60))
def test_the_source_lock_believes_the_same(course: list[Step]) -> None:
    assert believed(lock, course) == believed(PLAIN_LOCK, course)


def test_the_two_are_not_the_same_module() -> None:
    assert PLAIN_PATH.PacketPath is not path.PacketPath
    assert PLAIN_PATH.__file__ == str(HERE / "media/path.py")


@pytest.mark.skipif(
    not (shutil.which("cc") and Path(sysconfig.get_path("include"), "Python.h").exists()), reason="no C compiler here"
)
def test_make_install_compiles_it() -> None:
    assert packet_path() is Compiled.COMPILED
