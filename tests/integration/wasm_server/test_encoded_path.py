"""The microphone by encoded frames from before Chrome's jitter buffer, in real Chromium: it holds, and falls back."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio

from gateway.browser.page import PageTarget
from gateway.media.page_side import LegState
from tests.integration.wasm_server.rig import RATE_HZ, attached, connect, new_leg
from tests.integration.wasm_server.site import site
from tests.integration.wasm_server.test_page_audio import PCMU, Opened, hears, opened, until
from tests.support.audio import sine
from tests.support.chromium import ChromiumProcess, chromium

pytestmark = [pytest.mark.integration, pytest.mark.alone, pytest.mark.asyncio(loop_scope="module")]

SHARED, PORTS = "?worker&isolated", "?worker"  # by shared memory, and by message ports where the page is not isolated


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[ChromiumProcess]:
    async with chromium() as process:
        yield process


@contextlib.asynccontextmanager
async def listening(browser: ChromiumProcess, query: str, rate_hz: int = 16000) -> AsyncIterator[Opened]:
    """A page that listens to its microphone, connected, with a tone on the way."""
    async with opened(browser, query) as (page, wire, events):
        await connect(page, wire)
        await page.call("startMedia", PCMU)
        wire.say(sine(1000, -20, 60, RATE_HZ))
        await listen(page, rate_hz)
        yield page, wire, events


async def listen(page: PageTarget, rate_hz: int = 16000) -> None:
    await page.evaluate(f"""(async () => {{
        globalThis.context = await open({rate_hz});
        const stream = await navigator.mediaDevices.getUserMedia({{audio: true}});
        listen(context, context.createMediaStreamSource(stream));
    }})()""")


async def path_of(page: PageTarget) -> str:
    return str((await page.call("stats"))["mic_path"])


@pytest.mark.parametrize("rate_hz", [16000, 44100, 48000])
@pytest.mark.parametrize("query", [SHARED, PORTS])
async def test_frames_are_heard_at_every_rate(browser: ChromiumProcess, query: str, rate_hz: int) -> None:
    async with listening(browser, query, rate_hz) as (page, _, _):
        await hears(page, 1000)
        stats = await page.call("stats")
        assert stats["mic_path"] == "encoded"
        assert stats["jitter_buffer_ms"] is None, "Chrome's decoder has nothing to do"
        await until(page, "__ponte.stats().then((stats) => stats.mic_buffer?.packets > 10)")
        levels = [one["dbfs"] for one in await page.evaluate("heard.slice(-3)")]
        assert np.median(levels) == pytest.approx(-20, abs=0.1)


async def test_codec_leg_and_line_may_change_in_a_call(browser: ChromiumProcess) -> None:
    async with listening(browser, SHARED) as (page, wire, _):
        await hears(page, 1000)
        wire.codec = "PCMA"
        wire.say(sine(1000, -20, 60, RATE_HZ))
        await asyncio.sleep(0.3)
        await hears(page, 1000)

        old, wire.leg = wire.leg, new_leg()
        await connect(page, wire)
        await old.close()
        await hears(page, 1000)
        assert await path_of(page) == "encoded"

        # Held by somebody who sends nothing: the timestamps go on, or stand still, as with whoever comes next.
        leg = wire.leg
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(setattr, leg, "send", leg.send)
            leg.send = lambda packet: None  # type: ignore[method-assign]
            await asyncio.sleep(1.5)
            await hears(page, 0, -120)
        await hears(page, 1000)
        waits = [(await page.call("stats"))["mic_buffer"]["wait_ms"] for _ in range(3)]
        assert min(waits) < 150


async def test_a_page_that_is_busy_for_300_ms_hears_on(browser: ChromiumProcess) -> None:
    async with listening(browser, SHARED) as (page, _, _):
        await hears(page, 1000)
        before = (await page.call("stats"))["mic_buffer"]["concealed_ms"]
        await page.evaluate("""heard.length = 0; for (const end = Date.now() + 300; Date.now() < end; );""")
        await asyncio.sleep(0.4)
        looks = await page.evaluate("heard")
        assert len(looks) >= 5, "the audio thread reported meanwhile"
        # A loaded machine may keep a packet for a while; a path through the page's thread would lose 300 ms.
        assert (await page.call("stats"))["mic_buffer"]["concealed_ms"] - before < 150
        assert np.median([one["dbfs"] for one in looks]) == pytest.approx(-20, abs=0.5)


async def test_other_uses_of_the_track_hear_the_frames(browser: ChromiumProcess) -> None:
    async with opened(browser, SHARED) as (page, wire, _):
        await connect(page, wire)
        await page.call("startMedia", PCMU)
        wire.say(sine(1000, -20, 60, RATE_HZ))
        await page.evaluate("""(async () => {
            const stream = await navigator.mediaDevices.getUserMedia({audio: true});
            const [near, far] = [new RTCPeerConnection(), new RTCPeerConnection()];
            globalThis.peers = [near, far];
            near.onicecandidate = (event) => far.addIceCandidate(event.candidate ?? undefined);
            far.onicecandidate = (event) => near.addIceCandidate(event.candidate ?? undefined);
            const arrived = new Promise((resolve) => { far.ontrack = (event) => resolve(event.track); });
            near.addTrack(stream.getAudioTracks()[0], stream);
            await near.setLocalDescription();
            await far.setRemoteDescription(near.localDescription);
            await far.setLocalDescription();
            await near.setRemoteDescription(far.localDescription);
            const remote = new MediaStream([await arrived]);
            globalThis.element = new Audio();
            element.muted = true;
            element.srcObject = remote;
            await element.play();
            globalThis.context = await open(48000);
            listen(context, context.createMediaStreamSource(remote));
        })()""")
        await hears(page, 1000)
        assert await path_of(page) == "encoded"


async def test_a_reload_begins_anew(browser: ChromiumProcess) -> None:
    async with site() as url, attached(browser, url + SHARED) as (page, wire, _):
        for _ in range(2):
            await connect(page, wire)
            await page.call("startMedia", PCMU)
            wire.say(sine(1000, -20, 30, RATE_HZ))
            await listen(page)
            await hears(page, 1000)
            assert await path_of(page) == "encoded"
            fresh = asyncio.Event()
            page.subscribe(lambda event: None, fresh.set, lambda why: None)
            await page.reload()
            await asyncio.wait_for(fresh.wait(), 10)
            await until(page, "document.readyState === 'complete' && typeof listen === 'function'")
            old, wire.leg = wire.leg, new_leg()
            await old.close()


async def test_the_plain_track_is_heard_when_the_worker_fails(browser: ChromiumProcess) -> None:
    async with opened(browser, SHARED) as (page, wire, events):
        # The bundle's worker is the only one here: what is posted to it says which it is.
        await page.evaluate("""
            const post = Worker.prototype.postMessage;
            Worker.prototype.postMessage = function (...args) {
                globalThis.found = this;
                return post.apply(this, args);
            };""")
        await connect(page, wire)
        await page.call("startMedia", PCMU)
        wire.say(sine(1000, -20, 60, RATE_HZ))
        await listen(page)
        await hears(page, 1000)
        assert await path_of(page) == "encoded"
        await page.evaluate("found.dispatchEvent(new ErrorEvent('error', {message: 'gone', cancelable: true}))")
        # Chrome gives the frames of that connection to nobody else: the page closes it, and the gateway makes another.
        deadline = time.monotonic() + 5
        while wire.leg.state is not LegState.CLOSED:
            assert time.monotonic() < deadline, "the leg does not know that it was closed"
            await asyncio.sleep(0.02)
        assert {"type": "media.state", "state": "closed"} in events
        old, wire.leg = wire.leg, new_leg()
        await connect(page, wire)
        await old.close()
        await hears(page, 1000)
        stats = await page.call("stats")
        assert (stats["mic_path"], stats["mic_buffer"]) == ("track", None)
        assert any("plain track" in event.get("message", "") for event in events)


async def test_frames_go_on_to_the_plain_track_where_wasm_is_forbidden(browser: ChromiumProcess) -> None:
    async with listening(browser, f"{SHARED}&nowasm") as (page, _, _):
        await hears(page, 1000)
        stats = await page.call("stats")
        assert (stats["mic_path"], stats["mic_buffer"]) == ("track", None)
        assert stats["jitter_buffer_ms"] > 0


async def test_the_page_finds_its_policy_as_it_made_it(browser: ChromiumProcess) -> None:
    async with opened(browser, SHARED) as (page, wire, events):
        await connect(page, wire)
        assert await page.evaluate("""(() => {
            const tried = (make) => { try { return String(make()); } catch (error) { return error.message; } };
            return [
                policy.name, policy instanceof TrustedTypePolicy,
                tried(() => policy.createScriptURL("/page.js")),
                tried(() => policy.createScriptURL("/__ponte/other.js")),
                tried(() => policy.createHTML("<b>")).includes("createHTML") || "no rule",
            ];
        })()""") == ["site", True, "/page.js", "not a script of this site", True]
        assert not [event for event in events if event.get("level") in ("warning", "error")]
