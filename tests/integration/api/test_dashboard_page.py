"""``/`` and its files: types, rules, nothing else than was built. What the page does: `tests/e2e/dashboard`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.api.dashboard.build import build
from gateway.api.dashboard_page import DashboardPage
from gateway.api.problems import Problem
from tests.integration.api.conftest import Api

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    """`.ci/install` built it; where that was not run yet, it is done now."""
    build()


async def test_the_page_and_its_files(api: Api) -> None:
    answer = await api.client.get("/", headers={"Authorization": ""})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    names = re.findall(r"/assets/([^\"]+)\"", answer.text)
    assert {name.rpartition(".")[2] for name in names} == {"js", "css", "svg"}
    assert not re.search(r"https?://|<script>|style=", answer.text)
    for name in [*names, "licences.txt"]:
        file = await api.client.get(f"/assets/{name}")
        assert file.status_code == 200, name
        assert file.headers["x-content-type-options"] == "nosniff"
        assert ("immutable" in file.headers["cache-control"]) == name.startswith("main-"), name
    assert (await api.client.head("/")).status_code == 200
    assert (await api.client.post("/")).status_code == 405


async def test_its_rules(api: Api) -> None:
    policy = (await api.client.get("/")).headers["content-security-policy"]
    for rule in (
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'",
        "connect-src 'self' wss: ws://gateway:*", "media-src 'self' blob:", "require-trusted-types-for 'script'",
    ):  # fmt: skip
        assert rule in policy.split("; ")
    for host, allowed in (
        ("[::1]:8080", "wss: ws://[::1]:*"),
        ("10.0.0.1", "wss: ws://10.0.0.1:*"),
    ):
        policy = (await api.client.get("/", headers={"Host": host})).headers["content-security-policy"]
        assert f"connect-src 'self' {allowed};" in policy
    for host in ("a;script-src *", "a b", "x:y", ""):
        policy = (await api.client.get("/", headers={"Host": host})).headers["content-security-policy"]
        assert "connect-src 'self' wss:;" in policy, host


async def test_nothing_else_is_served(api: Api) -> None:
    for name in ("..%2findex.html", "..%2f.built-from", ".built-from", "nope.js", "main.js%00.css", "%2e%2e"):
        assert (await api.client.get(f"/assets/{name}")).status_code == 404, name


async def test_a_page_that_was_not_built_says_so(tmp_path: Path) -> None:
    from starlette.requests import Request

    with pytest.raises(Problem, match=r"gateway\.api\.dashboard\.build") as refused:
        await DashboardPage(tmp_path).index(Request({"type": "http", "headers": []}))
    assert refused.value.status == 404


def test_building_twice_does_nothing(tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "main-OLDNAMED.js").write_text("of a build before")
    assert build(tmp_path)
    assert not build(tmp_path)
    assert {path.suffix for path in (tmp_path / "assets").iterdir()} == {".js", ".css", ".svg", ".txt"}
    assert not (tmp_path / "assets" / "main-OLDNAMED.js").exists()
