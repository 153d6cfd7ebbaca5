"""Opus and G.722 through a page in real Chromium, and changes between all codecs in a call."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Final

import numpy as np
import pytest
import pytest_asyncio

from gateway.browser.page import PageTarget
from gateway.domain.codecs import CODECS
from tests.integration.wasm_server.rig import PTIME_S, Wire, connect
from tests.integration.wasm_server.test_encoded_path import SHARED, listen, path_of
from tests.integration.wasm_server.test_page_audio import Opened, hears, opened
from tests.support.audio import fit_sine, sinad, sine
from tests.support.chromium import ChromiumProcess, chromium

pytestmark = [pytest.mark.integration, pytest.mark.alone, pytest.mark.asyncio(loop_scope="module")]

ROUNDS: Final = 3
HIGH_HZ: Final = 5000  # above what narrow band carries


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[ChromiumProcess]:
    async with chromium() as process:
        yield process


@contextlib.asynccontextmanager
async def talking(browser: ChromiumProcess, codec: str, query: str = SHARED) -> AsyncIterator[Opened]:
    """A page in a call of *codec*, with a context of 16 kHz as WhatsApp has it: Chrome then resamples nothing."""
    async with opened(browser, query) as (page, wire, events):
        await connect(page, wire)
        await page.call("startMedia", {"codec": codec})
        wire.codec = codec
        await listen(page, 16000)
        yield page, wire, events


async def play(page: PageTarget, hz: float) -> None:
    """Let the page play a tone of -20 dBFS to the far end."""
    await page.evaluate(f"""(() => {{
        globalThis.playing?.disconnect();
        globalThis.playing = play(context, {hz}, 0.1, "some-playback-processor");
        playing.connect(context.destination);
    }})()""")


async def sent(wire: Wire, codec: str, hz: float, timeout_s: float = 15) -> tuple[float, float]:
    """Wait until the page sends this tone in *codec*; give level and SINAD of half a second without holes."""
    deadline = time.monotonic() + timeout_s
    rate_hz = CODECS[codec].sample_rate_hz
    found = None
    while True:
        assert time.monotonic() < deadline, f"{hz} Hz did not come in {codec}, but {found}"
        await asyncio.sleep(0.2)
        sound = wire.heard(0.5)
        if len(wire.received) < 25 or wire.received[-1].codec != codec or len(sound) < rate_hz * 0.48:
            continue
        found = fit_sine(sound, rate_hz)
        quality = sinad(sound, rate_hz, hz)
        if abs(found.hz - hz) < 5 and quality.p10_db > 18:
            return found.dbfs, quality.median_db


# What the codecs themselves leave of a tone: G.722 has two bits for what is above 4 kHz.
@pytest.mark.parametrize(("codec", "least_db"), [("opus", {1000: 30, HIGH_HZ: 25}), ("G722", {1000: 40, HIGH_HZ: 19})])
async def test_wide_band_comes_through_both_ways(
    browser: ChromiumProcess, codec: str, least_db: dict[int, float]
) -> None:
    async with talking(browser, codec) as (page, wire, events):
        for hz, least in least_db.items():
            wire.hum(hz)
            await play(page, hz)
            await hears(page, hz)
            assert await path_of(page) == "track"
            levels = [one["dbfs"] for one in await page.evaluate("heard.slice(-3)")]
            assert np.median(levels) == pytest.approx(-20, abs=0.2)
            level, quality = await sent(wire, codec, hz)
            assert level == pytest.approx(-20, abs=0.25)
            assert quality > least
        assert not [event for event in events if event.get("level") in ("warning", "error")]


@pytest.mark.parametrize("codec", ["opus", "G722"])
async def test_the_first_word_of_a_call_is_not_lost(browser: ChromiumProcess, codec: str) -> None:
    async with opened(browser, SHARED) as (page, wire, _):
        await connect(page, wire)
        await listen(page, 16000)
        await page.call("startMedia", {"codec": codec})
        wire.codec = codec
        wire.say(sine(1000, -20, 1.0, wire.rate_hz))
        await asyncio.sleep(2)
        looks = await page.evaluate("heard")
        # Chrome's jitter buffer may stretch or cut some tens of ms.
        assert sum(10 ** (one["dbfs"] / 10) for one in looks) * 100 * 0.1 > 0.9


async def test_codecs_change_in_a_call_without_a_hole(browser: ChromiumProcess) -> None:
    """The best of some rounds counts, since a busy machine makes holes of its own."""
    holes: dict[str, list[float]] = {}
    async with talking(browser, "PCMU") as (page, wire, events):

        async def hole_ms() -> float:
            """The longest hole of both ways since the last time."""
            looked = (await page.evaluate("heard.at(-1)"))["hole_ms"]
            paused = wire.longest_pause_ms() - 1000 * PTIME_S
            await page.evaluate("listener.port.postMessage('anew')")
            wire.received.clear()
            return float(max(looked, paused))

        wire.hum(1000)
        await play(page, 1000)
        await hears(page, 1000)
        for codec, path in ROUNDS * (("opus", "track"), ("PCMA", "encoded"), ("G722", "track"), ("PCMU", "encoded")):
            await hole_ms()
            await page.call("setCodec", codec)
            await asyncio.sleep(0.02)  # the peer changes when it was answered
            wire.codec = codec
            await asyncio.sleep(1)
            holes.setdefault(codec, []).append(await hole_ms())
            await hears(page, 1000)
            await sent(wire, codec, 1000)
            assert await path_of(page) == path
        assert not [event for event in events if event.get("level") in ("warning", "error")]
    assert all(min(found) < 60 for found in holes.values()), holes
