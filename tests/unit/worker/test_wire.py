"""What crosses the boundary between gateway and media worker."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, get_args, get_type_hints

import pytest

from gateway.codecs.sound import OpusSettings
from gateway.domain.errors import ConfigError, PeerTimeout, PonteError, RemoteProtocolError, Unavailable
from gateway.domain.recording import RecordingFormat, RecordingSpec, RecordingState, RecordingStatus
from gateway.domain.states import PageState
from gateway.media.built_in import ClientSettings, PlaneSettings
from gateway.media.echo import EchoFigures
from gateway.media.page_side import LegStats
from gateway.media.plane import DirectionStats, MediaStats, Negotiated, NoCommonCodec
from gateway.protocol.dtmf import KeyPress
from gateway.protocol.sdp.crypto import Crypto, CryptoPair
from gateway.webrtc.seam import SeamBroken
from gateway.worker.figures import Family
from gateway.worker.wire import MAX_BYTES, TYPES, Deframer, frame, pack, pack_error, unpack, unpack_error

pytestmark = pytest.mark.unit

KEYS = CryptoPair(
    Crypto(1, "AES_CM_128_HMAC_SHA1_80", b"\x00\xff" * 15), Crypto(2, "AES_CM_128_HMAC_SHA1_80", b"a" * 30)
)
VALUES = [
    KeyPress("5", 160),
    EchoFigures(10, -20.5),
    LegStats(sent=3, round_trip_ms=None, jitter_ms=0.25),
    MediaStats(wa_to_sip=DirectionStats(packets=7, dropped={"hold": 2}, dropped_payload_types={13: 4}), last_rtp_s=1.5),
    Negotiated(
        "PCMU", 0, 20, "sendrecv", ("10.0.0.1", 4000), ("10.0.0.1", 4001),
        events={8000: 101}, send={"PCMU": 0}, receive={0: "PCMU", 101: "telephone-event"}, crypto=KEYS,
    ),
    PlaneSettings(
        (30000, 30999), offer_srtp=True, codecs=("PCMU",), clients=ClientSettings(("10.0.0.1",), "1.2.3.4", 3.0)
    ),
    Family("a", "b", "gauge", (("a", {"x": "y"}, 1.0),)),
    KEYS,
    DirectionStats(),
    ClientSettings(),
    OpusSettings(complexity=9),
    KEYS.ours,
    RecordingSpec("/var/x", "c1", RecordingFormat.WAV, tone=True, min_free_bytes=5),
    RecordingStatus(RecordingState.FAILED, "c1.opus", RecordingFormat.OPUS, 1.5, 300, "disk_full", "No room", 2),
]  # fmt: skip


def over_the_wire(value: object) -> Any:
    (message,) = Deframer().feed(frame(pack(value)))
    return unpack(message)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_every_type_comes_out_as_it_went_in(value: object) -> None:
    assert over_the_wire(value) == value


def test_each_type_that_may_be_sent_is_tried() -> None:
    assert {type(value) for value in VALUES} == set(TYPES.values())


def held_by(kind: Any) -> set[type[Any]]:
    """The dataclasses that *kind* is, or may hold."""
    found: set[type[Any]] = set()
    if dataclasses.is_dataclass(kind):
        found.add(kind)  # type: ignore[arg-type]
    inner = [*get_args(kind), *(get_type_hints(kind).values() if found else ())]
    return found.union(*(held_by(one) for one in inner))


@pytest.mark.parametrize("kind", [MediaStats, LegStats, Negotiated, PlaneSettings, KeyPress, Family])
def test_what_the_verbs_carry_may_be_sent_with_all_that_it_holds(kind: type[Any]) -> None:
    assert held_by(kind) <= set(TYPES.values())


@pytest.mark.parametrize("value", [None, True, 0, -1.5, "ü", b"\x00\xff", (), ((1,), "x"), {}, {1: (2,), "a": None}])
def test_plain_values_keep_their_types(value: object) -> None:
    found = over_the_wire(value)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, PonteError("x"), print, PageState],
    ids=["object", "set", "error", "function", "class"],
)
def test_nothing_else_is_sent(value: object) -> None:
    with pytest.raises(TypeError):
        pack(value)


@pytest.mark.parametrize(
    "value",
    [
        {"o": "Popen", "v": []}, {"o": "KeyPress", "v": ["5"]}, {"o": "KeyPress"}, {"b": "?"}, {"b": 1}, {"d": [1]},
        {"x": 1}, {},
    ],
)  # fmt: skip
def test_what_was_never_packed_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        unpack(value)


def test_messages_are_whole_however_they_come() -> None:
    messages = [{"a": 1}, ["x" * 300], None]
    stream = b"".join(frame(message) for message in messages)
    for step in (1, 3, 7, len(stream)):
        deframer = Deframer()
        found = [m for start in range(0, len(stream), step) for m in deframer.feed(stream[start : start + step])]
        assert found == messages


def test_a_length_that_cannot_be_is_refused_before_anything_is_kept() -> None:
    with pytest.raises(ValueError, match="too long"):
        list(Deframer().feed((MAX_BYTES + 1).to_bytes(4, "big")))
    with pytest.raises(ValueError, match="too long"):
        frame("x" * MAX_BYTES)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConfigError("no", "rtp_port_min"), ConfigError),
        (RemoteProtocolError("no", 488), RemoteProtocolError),
        (NoCommonCodec(), NoCommonCodec),
        (PeerTimeout("no"), PeerTimeout),
        (Unavailable("no"), Unavailable),
        (SeamBroken("no"), PonteError),
    ],
)
def test_errors_keep_what_they_say(error: PonteError, kind: type[PonteError]) -> None:
    found = unpack_error(json.loads(json.dumps(pack_error(error))))
    assert type(found) is kind
    assert str(found) == str(error)
    for name in ("status", "field"):
        assert getattr(found, name, None) == getattr(error, name, None)


def test_a_fault_is_told_without_its_text() -> None:
    assert "5511" not in str(unpack_error(pack_error(ValueError("5511987654321"))))


@pytest.mark.parametrize("packed", [{}, {"n": "SystemExit", "m": "x"}, {"n": "PonteError", "m": 1}])
def test_an_error_that_was_never_packed_is_refused(packed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="cannot be"):
        unpack_error(packed)


@pytest.mark.parametrize("port_range", [(30000, 30999), (30001, 30998), (30001, 30999)])
@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_workers_share_the_ports(port_range: tuple[int, int], parts: int) -> None:
    ranges = [one.port_range for one in PlaneSettings(port_range).split(parts)]
    pairs = [port for low, high in ranges for port in range(low + low % 2, high, 2)]
    low, high = port_range
    assert sorted(pairs) == list(range(low + low % 2, high, 2))
    sizes = [(high - low + 1) // 2 for low, high in ranges]
    assert max(sizes) - min(sizes) <= 1


def test_more_workers_than_ports_are_refused() -> None:
    with pytest.raises(ConfigError):
        PlaneSettings((30000, 30003)).split(3)
