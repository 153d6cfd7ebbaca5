"""`/docs` in a real Chromium: it shows the API, sends a request, and nothing leaves the host or breaks its rules."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
from playwright.async_api import async_playwright, expect

from gateway.api.docs_page import DocsPage
from gateway.api.explorer.build import build
from tests.integration.api.conftest import Api
from tests.integration.api.test_server import served

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    """`.ci/install` built it; where that was not run yet, it is done now."""
    build()


async def test_the_page_works_offline_under_a_strict_policy(api: Api) -> None:
    async with served(api) as port, async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            page = await browser.new_page()
            asked: list[str] = []
            said: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: said.append(str(error)))
            answer = await page.goto(f"http://127.0.0.1:{port}/docs")
            assert answer is not None
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "script-src 'self';" in policy
            await expect(page.get_by_text("/call/offer")).to_be_visible(timeout=20_000)
            await page.get_by_role("button", name="Authorize").first.click()
            account = page.locator("form").filter(has_text="ponte keys")
            await account.locator("input[aria-label='auth-bearer-value']").fill(api.key)
            await account.get_by_role("button", name="Apply credentials").click()
            await account.get_by_role("button", name="Close").click()
            await page.locator("#operations-calls-listLiveCalls button.opblock-summary-control").click()
            await page.locator("#operations-calls-listLiveCalls button.execute").click()
            await expect(page.locator("#operations-calls-listLiveCalls .live-responses-table")).to_contain_text(
                '"calls": []', timeout=20_000
            )
        finally:
            await browser.close()
    assert said == []
    assert {url.split("/")[2] for url in asked if not url.startswith("data:")} == {f"127.0.0.1:{port}"}


async def test_the_files_and_nothing_else(api: Api) -> None:
    for name, kind in (("swagger-ui.css", "text/css"), ("start.js", "text/javascript")):
        answer = await api.client.get(f"/docs/{name}")
        assert answer.headers["content-type"].startswith(kind)
        assert answer.headers["x-content-type-options"] == "nosniff"
    for name in ("LICENSE", ".built-from", "..%2f..%2fpyproject.toml", "nope"):
        assert (await api.client.get(f"/docs/{name}")).status_code == 404


async def test_a_page_that_was_not_built_says_so(tmp_path: Path) -> None:
    from starlette.applications import Starlette
    from starlette.routing import Route

    from gateway.api.problems import on_ponte_error
    from gateway.domain.errors import PonteError

    page = DocsPage(tmp_path)
    app = Starlette(routes=[Route("/docs", page.index)], exception_handlers={PonteError: on_ponte_error})
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://gateway") as client:
        answer = await client.get("/docs")
    assert answer.status_code == 404
    assert "gateway.api.explorer.build" in answer.json()["detail"]


def test_building_twice_does_nothing(tmp_path: Path) -> None:
    assert build(tmp_path / "docs")
    assert not build(tmp_path / "docs")
    assert {path.name for path in (tmp_path / "docs").iterdir()} >= {"index.html", "swagger-ui-bundle.js", "LICENSE"}
