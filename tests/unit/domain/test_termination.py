"""Each outcome is told with the SIP status and the Q.850 cause of docs/ARCHITECTURE.md, section 4."""

import pytest

from gateway.domain import termination as t
from gateway.domain.termination import Termination

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("outcome", "sip_status", "q850_cause", "retry"),
    [
        (t.NO_NUMBER, 484, 28, False),
        (t.NOT_ON_WHATSAPP, 404, 1, False),
        (t.BUSY, 486, 17, False),
        (t.DECLINED, 603, 21, False),
        (t.NO_ANSWER, 480, 19, False),
        (t.UNREACHABLE, 480, 20, False),
        (t.LINE_BUSY, 503, 34, True),
        (t.PAGE_UNAVAILABLE, 503, 41, True),
        (t.PAGE_LOST, 503, 41, True),
    ],
)
def test_the_table(outcome: Termination, sip_status: int, q850_cause: int, retry: bool) -> None:
    assert (outcome.sip_status, outcome.q850_cause) == (sip_status, q850_cause)
    assert (outcome.retry_after_s is not None) is retry


@pytest.mark.parametrize(
    ("status", "reason", "cause"),
    [(486, "busy", 17), (600, "busy", 17), (603, "declined", 21), (480, "no_answer", 19), (404, "no_such_extension", 1),
     (503, "sip_failure", 41), (499, "sip_failure", 127)],
)  # fmt: skip
def test_failures_of_the_sip_side(status: int, reason: str, cause: int) -> None:
    found = t.from_sip_failure(status)
    assert (found.reason, found.sip_status, found.q850_cause) == (reason, status, cause)


def test_the_pbx_says_by_itself_why() -> None:
    assert t.from_sip_failure(480, 18).q850_cause == 18
    assert t.hung_up(None) == t.HANGUP
    assert t.hung_up(31).q850_cause == 31
    assert t.hung_up(31).reason == "hangup"
