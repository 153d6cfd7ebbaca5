"""As a user of Ponte would write it: how the web phone of these tests is operated."""

import asyncio

from playwright.async_api import Page

from gateway.page.script import ScriptEvents


async def dial(page: Page, number: str) -> None:
    await page.fill("#number", number)
    await page.click("#call")


async def answer(page: Page) -> None:
    await page.click("#answer")
    await page.wait_for_function("document.getElementById('status').textContent === 'connected'")


async def hangup(page: Page) -> None:
    await page.click("#hangup")


async def watch(page: Page, events: ScriptEvents) -> None:
    before = ""
    while True:
        status = await page.locator("#status").inner_text()
        if status != before:
            if status == "incoming":
                events.incoming(await page.locator("#caller").inner_text())
            elif status == "ringing":
                events.ringing()
            elif status == "connected":
                events.active()
            elif status == "idle" and before:
                events.ended()
            before = status
        await asyncio.sleep(0.05)
