"""What strangers may do: how often they are answered, how long they are refused, who is not answered at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.protocol.sip.agent import AgentSettings
from gateway.protocol.sip.guard import Strangers
from gateway.protocol.sip.message import IncomingResponse
from gateway.protocol.sip.sources import FailureLimit, KnownSources, Pace, SourceLimits, source_key
from gateway.protocol.sip.timers import Timers
from tests.support.sip_lab import OFFER, STRANGER, UDP, Lab, authorization, lab, protected, request_text, trusted

pytestmark = pytest.mark.unit

FOREIGN = replace(UDP, remote=STRANGER)


def guarded(strangers: Strangers = Strangers.DROP_SCANNERS, **limits: object) -> Lab:
    one = lab(AgentSettings(sources=SourceLimits(**limits), strangers=strangers))  # type: ignore[arg-type]
    one.agent.set_endpoint(protected())
    return one


def challenged(one: Lab, number: int, flow: object = FOREIGN) -> str:
    one.feed(request_text(body=OFFER, branch=f"z9hG4bKq{number}", call_id=f"q{number}"), flow)  # type: ignore[arg-type]
    response = one.response()
    assert response.status == 401
    return response.header("WWW-Authenticate") or ""


def attempt(one: Lab, number: int, password: str = "geheim", *, user: str = "pbx", flow: object = FOREIGN) -> None:
    answer = authorization(challenged(one, number, flow), password=password, user=user)
    one.feed(
        request_text(body=OFFER, branch=f"z9hG4bKa{number}", call_id=f"q{number}", cseq=2, headers=[answer]),
        flow,  # type: ignore[arg-type]
    )


# tables


def test_a_source_is_what_nobody_changes_at_will() -> None:
    assert source_key("192.0.2.1") == "192.0.2.1"
    assert source_key("2001:db8:1:2:3:4:5:6") == source_key("2001:db8:1:2::9%eth0") == "2001:db8:1:2::"
    assert source_key("2001:db8:1:3::9") != source_key("2001:db8:1:2::9")


def test_blocks_grow_and_are_forgiven() -> None:
    limit = FailureLimit(SourceLimits(failures=2, failure_window_s=10, block_s=60, block_cap_s=200, forgive_s=1000))
    now, pauses = 0.0, []
    for _ in range(4):
        limit.failed("a", now)
        assert not limit.blocked("a", now)
        limit.failed("a", now)
        start = now
        while limit.blocked("a", now):
            now += 10
        pauses.append(now - start)
    assert pauses == [60, 120, 200, 200]
    now += 1000
    limit.failed("a", now)
    limit.failed("a", now)
    assert limit.blocked("a", now + 59)
    assert not limit.blocked("a", now + 60)


def test_blocks_behind_a_known_address_stay_short() -> None:
    limit = FailureLimit(SourceLimits(failures=1, block_s=60))
    for start in (0.0, 100.0, 200.0):
        limit.failed("a", start, grows=False)
        assert limit.blocked("a", start + 59)
        assert not limit.blocked("a", start + 60)


def test_failures_far_apart_block_nobody() -> None:
    limit = FailureLimit(SourceLimits(failures=2, failure_window_s=10))
    for number in range(10):
        limit.failed("a", number * 10.0)
        assert not limit.blocked("a", number * 10.0)


def test_every_table_is_bounded() -> None:
    limits = SourceLimits(failures=1, most=3, answer_burst=1)
    failures, pace, known = FailureLimit(limits), Pace(limits), KnownSources(limits)
    for number in range(10):
        failures.failed(f"192.0.2.{number}", 0)
        pace.take(f"192.0.2.{number}", 0)
        known.add(f"192.0.2.{number}", 0)
    assert (len(failures), len(pace), len(known)) == (3, 3, 3)
    assert failures.blocked("192.0.2.9", 1)
    assert not failures.blocked("192.0.2.0", 1)
    assert known.has("192.0.2.9", 1)
    assert not known.has("192.0.2.0", 1)
    assert not known.has("192.0.2.9", limits.known_s)


def test_pace() -> None:
    pace = Pace(SourceLimits(answers_per_s=2, answer_burst=3))
    assert [pace.take("a", 0) for _ in range(4)] == [True, True, True, False]
    assert pace.take("b", 0)
    assert [pace.take("a", 1) for _ in range(3)] == [True, True, False]
    assert [pace.take("a", 1000) for _ in range(4)] == [True, True, True, False]


# the guard


def test_a_flood_of_strangers_is_answered_at_a_pace_and_kept_nowhere() -> None:
    one = guarded(answers_per_s=1, answer_burst=5)
    for method in ("INVITE", "OPTIONS", "BYE", "REGISTER", "DANCE"):
        for number in range(4):
            one.feed(request_text(method, branch=f"z9hG4bK{method}{number}"), FOREIGN)
    one.feed(request_text("INVITE").replace("CSeq: 1", "CSeq: x"), FOREIGN)
    assert len(one.take()) == 5
    assert one.agent.counts["dropped_pace"] == 16
    assert one.agent.next_timeout() is None
    one.now += 2
    one.feed(request_text("OPTIONS"), FOREIGN)
    assert one.statuses() == ["200 OPTIONS"]


def test_a_pbx_is_never_slowed_down() -> None:
    one = guarded(answers_per_s=1, answer_burst=2)
    one.agent.set_endpoint(trusted(2))
    for number in range(20):
        one.feed(request_text("OPTIONS", branch=f"z9hG4bKo{number}"))
    assert one.statuses() == ["200 OPTIONS"] * 20  # by its address
    attempt(one, 1)
    assert one.statuses() == ["100 INVITE"]
    one.new_call()
    for number in range(20):
        one.feed(request_text("OPTIONS", branch=f"z9hG4bKo{number}"), FOREIGN)
    assert one.statuses() == ["200 OPTIONS"] * 20  # by its password


def test_a_mended_password_is_not_kept_waiting() -> None:
    one = guarded(failures=2)
    for number in range(2):
        attempt(one, number, "falsch")
        assert one.statuses() == ["401 INVITE"]
    one.feed(request_text(body=OFFER, branch="z9hG4bKz"), FOREIGN)
    assert one.statuses() == ["403 INVITE"]
    one.agent.set_endpoint(protected(2))  # nothing new about passwords
    one.feed(request_text(body=OFFER, branch="z9hG4bKz"), FOREIGN)
    assert one.statuses() == ["403 INVITE"]
    one.agent.set_endpoint(protected(listen_secret="falsch"))
    one.agent.remove_endpoint(2, one.now)
    attempt(one, 9, "falsch")
    one.new_call()


def test_one_wrong_user_of_a_pbx_does_not_shut_the_others_out() -> None:
    one = guarded(failures=2)
    attempt(one, 1)
    one.new_call()
    one.take()
    for number, status in ((2, "401 INVITE"), (3, "401 INVITE"), (4, "403 INVITE")):
        answer = authorization(_kept_challenge(one, number), user="other", password="falsch")
        one.feed(
            request_text(body=OFFER, branch=f"z9hG4bKa{number}", call_id=f"q{number}", cseq=2, headers=[answer]),
            FOREIGN,
        )
        assert one.statuses() == [status]
        one.run(0.1)
    assert one.agent.counts["auth_blocked"] == 1
    answer = authorization(_kept_challenge(one, 7))
    one.feed(request_text(body=OFFER, branch="z9hG4bKa7", call_id="q7", cseq=2, headers=[answer]), FOREIGN)
    one.new_call()


def _kept_challenge(one: Lab, number: int) -> str:
    """Return the challenge to somebody whom we know, acknowledged."""
    one.feed(request_text(body=OFFER, branch=f"z9hG4bKq{number}", call_id=f"q{number}"), FOREIGN)
    response = one.response()
    assert response.status == 401
    one.feed(request_text("ACK", branch=f"z9hG4bKq{number}", call_id=f"q{number}", to_tag=response.to.tag), FOREIGN)
    return response.header("WWW-Authenticate") or ""


def test_a_challenge_is_repeated_to_whom_we_know_until_its_ack_comes() -> None:
    one = guarded()
    attempt(one, 1)
    one.new_call().reject(486, None, None, one.now)
    one.run(100)
    one.take()
    one.feed(request_text(body=OFFER, branch="z9hG4bKk", call_id="k"), FOREIGN)
    first = one.response()
    one.run(Timers().t1_s * 3 + 0.1)
    repeated = one.take()
    assert [message.to.tag for message in repeated] == [first.to.tag] * 2
    assert isinstance(repeated[0], IncomingResponse)
    assert repeated[0].header("WWW-Authenticate") == first.header("WWW-Authenticate")
    one.feed(request_text("ACK", branch="z9hG4bKk", call_id="k", to_tag=first.to.tag), FOREIGN)
    one.run(60)
    assert one.take() == []
    assert not one.agent._engine.layer.servers


def test_challenges_that_are_kept_are_few() -> None:
    one = guarded()
    attempt(one, 1)
    one.new_call()
    one.take()
    for number in range(600):
        one.feed(request_text(body=OFFER, branch=f"z9hG4bKm{number}", call_id=f"m{number}"), FOREIGN)
    assert one.statuses() == ["401 INVITE"] * 600
    assert len(one.agent._engine.layer.servers) == 1 + 256


@pytest.mark.parametrize(
    "changes",
    [{"headers": ["User-Agent: friendly-scanner"]}, {"headers": ["User-Agent: SIPVicious 0.3"]},
     {"from_": '"sipvicious" <sip:100@1.1.1.1>'}],
)  # fmt: skip
@pytest.mark.parametrize("method", ["OPTIONS", "INVITE", "REGISTER"])
def test_scanners_hear_nothing(changes: dict[str, object], method: str) -> None:
    one = guarded()
    one.agent.set_endpoint(trusted(2))
    one.feed(request_text(method, **changes), FOREIGN)  # type: ignore[arg-type]
    assert one.take() == []
    assert one.agent.counts["dropped_scanner"] == 1
    one.feed(request_text("OPTIONS", **changes))  # type: ignore[arg-type]
    assert one.statuses() == ["200 OPTIONS"], "a PBX may call itself as it likes"
    open_to_all = guarded(Strangers.ANSWER)
    open_to_all.feed(request_text(method, **changes), FOREIGN)  # type: ignore[arg-type]
    assert len(open_to_all.take()) == 1


def test_silence_towards_strangers() -> None:
    one = guarded(Strangers.SILENT)
    one.agent.set_endpoint(trusted(2))
    for method in ("OPTIONS", "BYE", "CANCEL", "DANCE"):  # REGISTER is challenged as INVITE is: phones need it
        one.feed(request_text(method, branch=f"z9hG4bK{method}"), FOREIGN)
    one.feed(request_text("INVITE").replace("CSeq: 1", "CSeq: x"), FOREIGN)
    assert one.take() == []
    assert one.agent.counts["dropped_stranger"] == 5
    # a wrong password tells no more about who exists than a wrong name
    for number, (user, password) in enumerate((("pbx", "falsch"), ("nobody", "geheim"))):
        attempt(one, number, password, user=user)
        assert one.take() == []
    attempt(one, 9)
    assert one.statuses() == ["100 INVITE"]
    one.new_call()
    one.feed(request_text("OPTIONS", branch="z9hG4bKo2"), FOREIGN)
    assert one.statuses() == ["200 OPTIONS"]


def test_credentials_for_others_are_not_ours_to_judge() -> None:
    one = guarded(failures=1)
    foreign = 'Authorization: Digest username="1000", realm="pbx", nonce="1", uri="sip:x", response="0"'
    for _ in range(3):
        one.feed(request_text(body=OFFER, headers=[foreign]), FOREIGN)
        assert one.statuses() == ["401 INVITE"]
    assert one.agent.counts["auth_wrong"] == 0
    good = authorization(challenged(one, 1))
    one.feed(request_text(body=OFFER, branch="z9hG4bKg", call_id="g", headers=[foreign, good]), FOREIGN)
    one.new_call()


def test_answers_are_counted_by_a_closed_set() -> None:
    one = guarded()
    one.feed(request_text("DANCE"), FOREIGN)
    one.feed(request_text("OPTIONS", branch="z9hG4bKo"), FOREIGN)
    one.take()
    challenged(one, 1)
    attempt(one, 2)
    one.new_call().reject(486, None, None, one.now)
    assert one.agent.answers == {("other", 501): 1, ("OPTIONS", 200): 1, ("INVITE", 401): 2, ("INVITE", 486): 1}
