"""The core's counts as metrics."""

from __future__ import annotations

import pytest

from gateway.ops.metrics import Metrics
from gateway.sip.figures import mirror_counts
from tests.support.sip_lab import OFFER, authorization, lab, protected, request_text

pytestmark = pytest.mark.unit


def test_what_happened_shows_in_the_metrics() -> None:
    one, metrics = lab(), Metrics()
    mirror_counts(metrics, one.agent)
    assert 'ponte_sip_auth_total{outcome="wrong"} 0.0' in metrics.render().decode()
    one.agent.set_endpoint(protected())
    one.feed(request_text(body=OFFER))
    challenge = one.response().header("WWW-Authenticate") or ""
    for number, password in enumerate(("falsch", "geheim")):
        header = authorization(challenge, password=password, nc=number + 1)
        one.feed(request_text(body=OFFER, branch=f"z9hG4bK{number}", cseq=2 + number, headers=[header]))
    one.feed(request_text("DANCE"))
    one.feed(b"nonsense")
    text = metrics.render().decode()
    for line in (
        'ponte_sip_messages_total{kind="requests"} 4.0',
        'ponte_sip_messages_total{kind="malformed_dropped"} 1.0',
        'ponte_sip_auth_total{outcome="challenges"} 2.0',
        'ponte_sip_auth_total{outcome="good"} 1.0',
        'ponte_sip_auth_total{outcome="wrong"} 1.0',
        'ponte_sip_refused_total{cause="dropped_pace"} 0.0',
        'ponte_sip_responses_total{code="401",method="INVITE"} 2.0',
        'ponte_sip_responses_total{code="501",method="other"} 1.0',
    ):
        assert line in text.splitlines()
    assert "5511" not in text
