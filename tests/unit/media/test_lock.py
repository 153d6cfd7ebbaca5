"""Whose packets are taken."""

from __future__ import annotations

import pytest

from gateway.media.lock import MAX_CANDIDATES, LockRules, SourceLock
from gateway.protocol.rtp import RtpHeader, build_packet

pytestmark = pytest.mark.unit

SIGNALLED = ("198.51.100.5", 4000)
NAT = ("203.0.113.9", 31000)
THIEF = ("203.0.113.66", 6666)
SSRC = 7


class Bench:
    """A lock, with the stream that the path would know."""

    def __init__(self) -> None:
        self.ssrc: int | None = None
        self.lock = SourceLock(lambda packet: packet[1] & 0x7F == 0, lambda: self.ssrc, LockRules())

    def arrive(
        self, address: tuple[str, int], n: int, now_s: float, *, ssrc: int = SSRC, payload_type: int = 0
    ) -> bool:
        packet = build_packet(RtpHeader(payload_type, n & 0xFFFF, n * 160, ssrc), b"")
        if address == self.lock.locked:
            self.lock.heard(now_s)
            taken = True
        else:
            taken = self.lock.admit(address, packet, now_s)
        if taken:
            self.ssrc = ssrc
        return taken

    def stream(self, address: tuple[str, int], start_s: float, count: int, *, ssrc: int = SSRC) -> list[bool]:
        return [self.arrive(address, n, start_s + n * 0.02, ssrc=ssrc) for n in range(count)]


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.lock.signal(SIGNALLED, 0.0)
    return bench


def test_the_address_in_the_sdp_is_taken_at_once(bench: Bench) -> None:
    assert bench.lock.target == SIGNALLED
    assert bench.arrive(SIGNALLED, 1, 1.0)
    assert bench.lock.locked == SIGNALLED
    assert bench.lock.changes == 0


def test_not_the_first_packet_from_anywhere(bench: Bench) -> None:
    assert not bench.arrive(THIEF, 1, 1.0)
    assert bench.lock.target == SIGNALLED


def test_a_peer_behind_a_nat_is_believed_after_three_packets_that_fit(bench: Bench) -> None:
    assert bench.stream(NAT, 1.0, 4) == [False, False, True, True]
    assert bench.lock.target == NAT
    assert bench.lock.changes == 1


def test_packets_that_do_not_fit_start_over(bench: Bench) -> None:
    assert not any(bench.arrive(NAT, n, 1.0 + n * 0.02, ssrc=n) for n in range(20))  # another SSRC each time
    assert not any(bench.arrive(NAT, 5, 2.0 + n * 0.02) for n in range(20))  # the same number each time
    assert not any(bench.arrive(NAT, n, 3.0 + n) for n in range(20))  # one a second
    assert not any(bench.arrive(NAT, n, 30.0 + n * 0.02, payload_type=96) for n in range(20))


def test_the_address_in_the_sdp_wins_over_a_believed_one(bench: Bench) -> None:
    bench.stream(NAT, 1.0, 4)
    assert bench.arrive(SIGNALLED, 1, 1.2)
    assert bench.lock.target == SIGNALLED


def test_what_the_address_in_the_sdp_sends_must_be_audio_too(bench: Bench) -> None:
    assert not bench.arrive(SIGNALLED, 1, 1.0, payload_type=96)
    assert bench.lock.locked is None


def test_a_thief_gets_nothing_while_the_peer_sends(bench: Bench) -> None:
    for n in range(200):
        assert bench.arrive(SIGNALLED, n, 1.0 + n * 0.02)
        assert not bench.arrive(THIEF, n, 1.01 + n * 0.02, ssrc=666)
        assert not bench.arrive(NAT, n, 1.01 + n * 0.02)  # not even with the peer's own SSRC
    assert bench.lock.changes == 0


def test_a_nat_that_changes_its_mind_is_followed_after_half_a_second(bench: Bench) -> None:
    bench.stream(SIGNALLED, 1.0, 10)
    taken = [bench.arrive(NAT, 10 + n, 1.2 + n * 0.02) for n in range(40)]
    assert taken.index(True) == 24  # the last packet came at 1.18 s
    assert all(taken[24:])


def test_another_stream_waits_longer_and_sends_more(bench: Bench) -> None:
    bench.stream(SIGNALLED, 1.0, 10)
    taken = bench.stream(NAT, 2.0, 120, ssrc=666)
    assert taken.index(True) == 109  # 3 s after 1.18 s
    late = Bench()
    late.lock.signal(SIGNALLED, 0.0)
    late.stream(SIGNALLED, 1.0, 10)
    assert late.stream(NAT, 60.0, 20, ssrc=666).index(True) == 9


def test_nobody_new_is_believed_on_hold(bench: Bench) -> None:
    bench.stream(SIGNALLED, 1.0, 3)
    bench.lock.frozen = True
    assert not any(bench.stream(THIEF, 60.0, 100, ssrc=666))
    bench.lock.frozen = False
    assert any(bench.stream(NAT, 70.0, 100, ssrc=666))


def test_a_reinvite_moves_the_media_at_once_and_shuts_the_old_source_out(bench: Bench) -> None:
    bench.stream(NAT, 1.0, 5)
    moved = ("198.51.100.7", 5000)
    bench.lock.signal(moved, 2.0)
    assert bench.lock.target == moved
    assert not any(bench.arrive(NAT, 100 + n, 2.0 + n * 0.02) for n in range(50))  # it still sends for a second
    assert bench.arrive(moved, 1, 3.0, ssrc=8)
    assert bench.lock.locked == moved


def test_the_old_source_may_come_back_where_the_new_address_stays_silent(bench: Bench) -> None:
    bench.stream(NAT, 1.0, 5)
    bench.lock.signal(("10.0.0.7", 5000), 2.0)  # a phone behind the same NAT binding
    assert any(bench.arrive(NAT, 300 + n, 4.1 + n * 0.02) for n in range(5))


def test_a_reinvite_with_the_same_address_changes_nothing(bench: Bench) -> None:
    bench.stream(NAT, 1.0, 5)
    bench.lock.signal(SIGNALLED, 2.0)
    assert bench.lock.target == NAT


def test_a_spray_of_sources_costs_no_memory_and_does_not_shut_the_peer_out(bench: Bench) -> None:
    for n in range(100):
        bench.arrive(("203.0.113.1", n), 1, 1.0 + n * 0.001)
    assert len(bench.lock._candidates) == MAX_CANDIDATES
    assert any(bench.stream(NAT, 2.0, 5))


def test_before_any_sdp_nobody_is_sent_to() -> None:
    assert Bench().lock.target is None
