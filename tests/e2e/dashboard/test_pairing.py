"""Linking WhatsApp by the dashboard: a real gateway, a Chromium with the stand-in for WhatsApp Web, and no PBX."""

from __future__ import annotations

import asyncio
import base64
import io
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import av
import httpx2
import numpy as np
import pytest
import segno
from playwright.async_api import Page, expect

from gateway.api.dashboard.build import build
from tests.standin.server import StandIn
from tests.support.chromium import ChromiumProcess, chromium
from tests.support.dashboard import Dashboard, Gateway, browser, dashboard, gateway_alone
from wasm_server.build import build as build_wasm
from wasm_server.build import default_directory

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

PHONE = "4930901820"
_LONG_MS = 40_000
# What the picture shows, and not what was asked for: its own pixels.
_PIXELS = """img => {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [img.naturalWidth, img.naturalHeight];
  canvas.getContext("2d").drawImage(img, 0, 0);
  return canvas.toDataURL("image/png").split(",")[1];
}"""


async def world(stack: AsyncExitStack, folder: Path) -> tuple[StandIn, ChromiumProcess, Gateway, Dashboard]:
    await asyncio.to_thread(build)  # `.ci/install` did both; where that was not run yet, it is done now
    await asyncio.to_thread(build_wasm, default_directory())
    stand_in = await stack.enter_async_context(StandIn())
    await stand_in.post("/settings", logged_in=False, qr_rotate_ms=2500)
    chrome = await stack.enter_async_context(chromium(stand_in.flags))
    gateway = await stack.enter_async_context(gateway_alone(folder, {"PONTE_PAGE_URL": stand_in.url}))
    async with httpx2.AsyncClient(base_url=gateway.url, headers={"Authorization": f"Bearer {gateway.key}"}) as client:
        configured = await client.post(
            "/call/bridge/config",
            json={
                "enabled": True, "sipListenPort": gateway.sip_port, "sipListenUser": "pbx",
                "sipListenSecret": "a long secret", "wasmServerIP": "127.0.0.1", "wasmServerPort": gateway.wasm_port,
                "chromeRemoteURL": chrome.ws_url,
            },
        )  # fmt: skip
    assert configured.status_code == 200, configured.text
    tabs = await stack.enter_async_context(browser())
    tab = await stack.enter_async_context(dashboard(tabs, gateway.url))
    return stand_in, chrome, gateway, tab


async def shown(page: Page) -> np.ndarray[Any, Any]:
    """The modules of the QR code on the screen: True is dark."""
    picture = page.locator("img.qr")
    await expect(picture).to_have_js_property("complete", True)
    png = base64.b64decode(await picture.evaluate(_PIXELS))
    with av.open(io.BytesIO(png), "r") as container:
        pixels = next(container.decode(video=0)).to_ndarray(format="gray")
    dark: np.ndarray[Any, Any] = pixels[4::8, 4::8] < 128
    return dark


def modules(code: str) -> np.ndarray[Any, Any]:
    made = segno.make_qr(code, error="l", boost_error=False)
    return np.array([[bool(cell) for cell in row] for row in made.matrix_iter(border=4)])


async def code_on_screen(page: Page, gateway: Gateway) -> str:
    """The text of the code that the screen shows, which WhatsApp may just be renewing."""
    headers = {"Authorization": f"Bearer {gateway.key}"}
    async with httpx2.AsyncClient(base_url=gateway.url, headers=headers, timeout=20) as client:
        for _ in range(20):
            code: str = (await client.get("/session/qr", params={"format": "json"})).json()["code"]
            seen = await shown(page)
            if np.array_equal(seen, modules(code)):
                return code
            await page.wait_for_timeout(200)
    raise AssertionError("the screen never showed WhatsApp's code")


async def test_a_phone_is_linked_unlinked_linked_by_number_and_taken_over(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        await _links(*await world(stack, tmp_path))


async def _links(stand_in: StandIn, chrome: ChromiumProcess, gateway: Gateway, tab: Dashboard) -> None:
    page = tab.page
    state = page.get_by_test_id("session-state")
    await tab.sign_in(gateway.key)
    # the overview names what is broken, and leads to what mends it
    spot = page.locator("[data-spot=page]")
    await expect(spot).to_have_attribute("data-mood", "bad", timeout=_LONG_MS)
    await expect(page.locator("[data-spot=chrome]")).to_have_attribute("data-mood", "good")
    await page.get_by_role("alert").filter(has_text="not linked to a phone").get_by_role("link").click()

    await expect(page.get_by_alt_text("QR code that links this page to a phone")).to_be_visible(timeout=20_000)
    first = await shown(page)
    await tab.check_access("pairing, QR code")
    source = await page.locator("img.qr").get_attribute("src") or ""
    await expect(page.locator("img.qr")).not_to_have_attribute("src", source, timeout=20_000)  # WhatsApp renewed it
    await stand_in.post("/settings", qr_rotate_ms=60_000)
    code = await code_on_screen(page, gateway)
    assert not np.array_equal(first, modules(code))
    await stand_in.post("/scan", code=code)
    await expect(state).to_have_attribute("data-state", "READY", timeout=_LONG_MS)
    await expect(page.locator("img.qr")).to_have_count(0)
    await expect(state).to_contain_text(f"+{PHONE}", timeout=20_000)
    await tab.check_access("pairing, linked")

    # the path is whole once the audio's connection is up
    await tab.go("/overview")
    await expect(page.get_by_text("The path is whole")).to_be_visible(timeout=_LONG_MS)
    await tab.check_access("overview, whole")

    # unlinked here, and linked by the phone's number
    await tab.go("/pairing")
    await page.get_by_role("button", name="Unlink the phone").click()
    await page.get_by_role("group").get_by_role("button", name="Unlink", exact=True).click()
    await expect(state).to_have_attribute("data-state", "LOGIN_REQUIRED", timeout=_LONG_MS)
    number = page.get_by_label("Number of the phone")
    await number.fill("12")
    await page.get_by_role("button", name="Get a code").click()
    await expect(number).to_have_attribute("aria-invalid", "true")
    await number.fill(f"+{PHONE[:2]} ({PHONE[2:5]}) {PHONE[5:]}")
    await page.get_by_role("button", name="Get a code").click()
    typed = await page.locator("strong.code").inner_text(timeout=_LONG_MS)
    await stand_in.post("/type_code", code=typed.replace("-", ""))
    await expect(state).to_have_attribute("data-state", "READY", timeout=_LONG_MS)

    # another page takes WhatsApp, and this one takes it back
    await stand_in.post("/displace")
    await expect(state).to_have_attribute("data-state", "DEGRADED", timeout=_LONG_MS)
    await page.get_by_role("button", name="Use WhatsApp here").click()
    await expect(state).to_have_attribute("data-state", "READY", timeout=_LONG_MS)

    # Chrome dies: the picture says so by itself
    await tab.go("/overview")
    await expect(page.locator("[data-spot=chrome]")).to_have_attribute("data-mood", "good")
    chrome.kill()
    await expect(page.locator("[data-spot=chrome]")).to_have_attribute("data-mood", "bad", timeout=_LONG_MS)
    tab.check_traffic()
