"""What the bridge costs Chrome: CPU of a page in a bridged call over that of the same page in the same call without.

Without a bridge the page has Chrome's fake audio device, and nothing is injected. Each call has a stand-in and a
Chromium of its own; in both cases the far end and the phone (or the fake microphone) sound all the time. Rounds are
interleaved.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from tests.bench.page.world import Bare, Bridged, bare, bridged, cpu_s, phone
from tests.bench.results import Section
from tests.support.audio import sine, wav_bytes

SETTLE_S: Final = 5.0
SAID: Final = wav_bytes(sine(700, -20, 60, 16_000), 16_000)
BAR, AIM = 1.8, 1.3


def run(section: Section, *, quick: bool) -> None:
    """Measure."""
    asyncio.run(_measure(section, quick=quick))


async def _measure(section: Section, *, quick: bool) -> None:
    seconds, rounds = (8.0, 1) if quick else (25.0, 3)
    for calls in (1,) if quick else (1, 2, 3):
        without, with_bridge = [], []
        for _ in range(rounds):
            without.append(await _bare(calls, seconds))
            with_bridge.append(await _bridged(calls, seconds))
        title = f"CPU of Chromium per call-second, {calls} {'call' if calls == 1 else 'calls'}"
        section.add(f"plain_{calls}", f"{title}, fake audio device, no bridge", without, "ms")
        section.add(f"bridged_{calls}", f"{title}, bridged", with_bridge, "ms")
        shares = [one / other for one, other in zip(with_bridge, without, strict=True)]
        section.add(f"share_{calls}", f"bridged over plain, {calls}", shares, "x", bar=BAR, aim=AIM)


async def _bare(calls: int, seconds: float) -> float:
    async with contextlib.AsyncExitStack() as stack:
        pages: list[Bare] = []
        for _ in range(calls):
            page = await stack.enter_async_context(bare("--use-fake-device-for-media-stream"))
            await page.stand_in.say_wav(SAID)
            await page.accept()
            pages.append(page)
        return await _used_ms(pages, seconds)


async def _bridged(calls: int, seconds: float) -> float:
    async with contextlib.AsyncExitStack() as stack:
        pages: list[Bridged] = []
        async with asyncio.TaskGroup() as group:
            for _ in range(calls):
                page = await stack.enter_async_context(bridged())
                peer = await stack.enter_async_context(phone())
                await page.stand_in.say_wav(SAID)
                to = await page.call(peer.port)
                length_s = seconds + SETTLE_S + 2
                group.create_task(peer.talk(to, sine(1000, -20, length_s, 8000), length_s))
                pages.append(page)
            return await _used_ms(pages, seconds)


async def _used_ms(pages: list[Bare] | list[Bridged], seconds: float) -> float:
    """CPU in ms per second and call."""
    await asyncio.sleep(SETTLE_S)
    loop = asyncio.get_running_loop()
    began_s, before = loop.time(), [cpu_s(page.browser) for page in pages]
    await asyncio.sleep(seconds)
    used_s = sum(cpu_s(page.browser) for page in pages) - sum(before)
    return 1000 * used_s / (loop.time() - began_s) / len(pages)
