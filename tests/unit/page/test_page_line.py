"""What ``ponte doctor`` says of a page."""

from typing import Any

import pytest

from gateway.accounts.checks import page_line
from gateway.domain.errors import RemoteProtocolError, Unavailable

pytestmark = pytest.mark.unit


def probe(state: str, detail: str = "", **lacks: str) -> dict[str, Any]:
    checks = [{"name": "wa-js", "found": True, "use": "all"}]
    checks += [{"name": name, "found": False, "use": use} for name, use in lacks.items()]
    return {
        "abi": 1, "state": state, "detail": detail, "waVersion": "2.3000.1", "wajsVersion": "4.6.0", "checks": checks,
        "missing": [name for name, use in lacks.items() if use in {"all", "incoming", "outgoing"}],
    }  # fmt: skip


def test_a_ready_page_is_told_with_its_versions() -> None:
    assert page_line(probe("READY")) == "READY, WhatsApp 2.3000.1, wa-js 4.6.0, ABI 1, 1 of 1 things found"


def test_what_linking_lacks_is_told_of_a_ready_page_as_well() -> None:
    assert page_line(probe("READY", waNoiseInfo="pairing")).endswith("1 of 2 things found; not found: waNoiseInfo")


def test_a_page_at_its_login_is_told_with_all_that_it_lacks() -> None:
    with pytest.raises(Unavailable, match=r"LOGIN_REQUIRED: scan.*not found: CallCollection, waNoiseInfo"):
        page_line(probe("LOGIN_REQUIRED", "scan the code", CallCollection="incoming", waNoiseInfo="pairing"))


def test_a_degraded_page_is_told_in_its_own_words() -> None:
    with pytest.raises(
        Unavailable, match=r"DEGRADED: no calls: CallCollection \(WhatsApp 2.3000.1.*1 of 2 things found\)"
    ):
        page_line(probe("DEGRADED", "no calls: CallCollection", CallCollection="incoming"))


def test_what_is_no_probe_is_refused() -> None:
    with pytest.raises(RemoteProtocolError):
        page_line({"state": "FINE"})
