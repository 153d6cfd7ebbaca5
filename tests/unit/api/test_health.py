"""Readiness by dependency."""

from __future__ import annotations

import asyncio

import pytest

from gateway.accounts.figures import show_pages
from gateway.domain.errors import Unavailable
from gateway.domain.states import PageState
from gateway.ops.health import CheckResult, Health
from gateway.ops.metrics import Metrics

pytestmark = pytest.mark.unit


async def test_each_dependency_has_its_own_result() -> None:
    async def fine() -> None:
        return

    async def down() -> None:
        raise Unavailable("it is down")

    async def broken() -> None:
        raise RuntimeError("secret")

    async def stuck() -> None:
        await asyncio.Event().wait()

    health = Health(timeout_s=0.01)
    for check in (fine, down, broken, stuck):
        health.register(check.__name__, check)
    results = {result.name: result for result in await health.results()}
    assert results["fine"] == CheckResult("fine", True, "")
    assert results["down"] == CheckResult("down", False, "it is down")
    assert not results["broken"].ok
    assert "secret" not in results["broken"].detail
    assert "0.01 s" in results["stuck"].detail


async def test_draining_is_not_ready() -> None:
    health = Health()
    assert await health.results() == []
    health.draining = True
    assert [result.ok for result in await health.results()] == [False]


def test_two_gateways_fit_in_one_process_and_pages_are_counted() -> None:
    first, second = Metrics(), Metrics()
    pages = [PageState.READY]
    show_pages(first, lambda: pages)
    second.calls.labels("whatsapp_to_sip", "success", "hangup").inc()
    assert 'ponte_page_state{state="READY"} 1.0' in first.render().decode()
    assert 'ponte_page_state{state="LOADING"} 0.0' in first.render().decode()
    pages.append(PageState.LOADING)
    assert 'ponte_page_state{state="LOADING"} 1.0' in first.render().decode()
    assert "ponte_page_state{" not in second.render().decode()
    assert "ponte_calls_total{" not in first.render().decode()
    assert (
        'ponte_calls_total{direction="whatsapp_to_sip",reason="hangup",result="success"} 1.0'
        in second.render().decode()
    )
