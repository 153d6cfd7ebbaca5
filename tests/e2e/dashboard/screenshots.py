"""``make screenshots``: the pictures of docs/dashboard.md, of the real dashboard with a real call in it.

Everything runs on loopback, with the stand-in for WhatsApp Web; names, numbers and voices are made up.
"""

from __future__ import annotations

import asyncio
import io
import sys
import tempfile
from pathlib import Path
from typing import Final

import httpx2
from PIL import Image
from playwright.async_api import Locator, Page, ViewportSize, expect

from gateway.api.dashboard.build import build
from tests.demo.call import CALLEE
from tests.demo.world import ROOT, Ports, World, WorldOptions, world
from tests.support.audio import speech, write_wav
from tests.support.baresip import SAMPLE_RATE_HZ
from tests.support.dashboard_browser import MOBILE, WAIT_MS, Dashboard, dashboards
from tests.support.ports import LOOPBACK, free_ports

FOLDER: Final = ROOT / "docs" / "images"
MOST_BYTES: Final = 100_000
_WINDOW: Final = ViewportSize(width=1180, height=600)  # grown to what the view shows
_COLOURS: Final = 64  # more cannot be told apart in pictures of plain areas
_FAR_RATE_HZ: Final = 16_000
_PERSON: Final = "Good morning. I would like to know when my order comes. The number is forty two."
_AGENT: Final = "Thank you for calling. One moment please, I will look it up for you."


async def _take(what: Page | Locator, name: str) -> None:
    """Write a picture, in as few bytes as a palette allows.

    Raises:
        RuntimeError: it is larger than pictures of the docs may be.
    """
    if isinstance(what, Page):
        shot = await what.screenshot(animations="disabled", full_page=what.viewport_size != MOBILE)
    else:
        shot = await what.screenshot(animations="disabled")
    small = io.BytesIO()
    Image.open(io.BytesIO(shot)).convert("RGB").quantize(_COLOURS).save(small, "PNG", optimize=True)
    if len(small.getvalue()) > MOST_BYTES:
        raise RuntimeError(f"{name} has {len(small.getvalue())} bytes, more than {MOST_BYTES}")
    (FOLDER / f"dashboard-{name}.png").write_bytes(small.getvalue())
    print(f"docs/images/dashboard-{name}.png: {len(small.getvalue())} bytes")


async def _views(here: World, http: httpx2.AsyncClient, desk: Dashboard, mobile: Dashboard) -> None:
    page = desk.page
    await expect(page.get_by_text("The path is whole")).to_be_visible(timeout=WAIT_MS)
    await _take(page, "overview")

    tone = here.phone.source.with_name("agent.wav")
    write_wav(tone, speech(_AGENT, SAMPLE_RATE_HZ, seconds=60), SAMPLE_RATE_HZ)
    here.phone.play(tone)
    await here.far_end.say(speech(_PERSON, _FAR_RATE_HZ, seconds=60), _FAR_RATE_HZ)
    offer = await http.post("/call/offer", json={"number": CALLEE, "extension": "1000"})
    call_id = offer.raise_for_status().json()["id"]
    await here.far_end.wait_for(
        lambda told: bool(told["call"]) and told["call"]["state"] == "ringing", what="ringing", timeout_s=20
    )
    await here.far_end.answer()
    await desk.go("/live")
    await page.get_by_role("button", name="Record", exact=True).click()
    await expect(page.get_by_text("recording", exact=True)).to_be_visible()
    await asyncio.sleep(8)  # of conversation, and of figures
    await _take(page, "live")
    await mobile.go("/live")
    await expect(mobile.page.get_by_role("meter").first).to_be_visible(timeout=WAIT_MS)
    await _take(mobile.page, "live-mobile")
    await page.get_by_role("button", name="Hang up").click()
    await expect(page.get_by_text("A call ended")).to_be_visible(timeout=WAIT_MS)

    await desk.go(f"/calls/{call_id}")
    await expect(page.locator(".wave canvas")).to_be_visible(timeout=WAIT_MS)
    await page.get_by_role("slider").press("ArrowRight")
    await _take(page.get_by_role("region", name="Recording"), "recording")
    await _take(page.get_by_role("region", name="Call ladder"), "ladder")


async def take_all(folder: Path) -> None:
    """Take every picture.

    Args:
        folder: for what runs meanwhile.
    """
    build()
    FOLDER.mkdir(exist_ok=True)
    options = WorldOptions(
        folder, Ports.free(), tap=False, environment={"PONTE_SIP_WS_PORT": str(free_ports(1))}
    )  # fmt: skip
    url = f"http://{LOOPBACK}:{options.ports.api}"
    async with (
        world(options, print) as here,
        dashboards(f"{url}/") as browser,
        httpx2.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {here.key}"}, timeout=20) as http,
    ):
        await here.configure(await here.configuration())
        await here.wait_ready(print)
        desk = await browser.open(size=_WINDOW)
        mobile = await browser.open("pt-BR", size=MOBILE, colours="dark")
        for one in (desk, mobile):
            await one.sign_in(here.key)
        await _views(here, http, desk, mobile)


def main() -> int:
    """Run the script."""
    with tempfile.TemporaryDirectory(prefix="ponte-screenshots-") as folder:
        asyncio.run(take_all(Path(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
