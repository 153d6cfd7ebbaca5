"""The audio paths of the bundle in pages that are not WhatsApp, in real Chromium: what must hold for any of them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import numpy as np
import pytest
import pytest_asyncio

from gateway.browser.page import PageTarget
from tests.integration.wasm_server.rig import RATE_HZ, Wire, attached, connect
from tests.integration.wasm_server.site import site
from tests.support.audio import Samples, fit_sine, sine
from tests.support.chromium import ChromiumProcess, chromium

pytestmark = [pytest.mark.integration, pytest.mark.alone, pytest.mark.asyncio(loop_scope="module")]

Opened = tuple[PageTarget, Wire, list[dict[str, Any]]]
PCMU: Final = {"codec": "PCMU"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[ChromiumProcess]:
    async with chromium() as process:
        yield process


@contextlib.asynccontextmanager
async def opened(browser: ChromiumProcess, query: str = "") -> AsyncIterator[Opened]:
    """A fresh page of the site with the bundle; no leg is connected."""
    async with site() as url, attached(browser, url + query) as found:
        # The bundle is there from the document's start, the page's own functions only when it has loaded.
        await until(found[0], "document.readyState === 'complete'")
        yield found


async def hears(page: PageTarget, hz: float, dbfs: float = -20, timeout_s: float = 15) -> None:
    """Wait until the page's listener hears this tone, or silence, for 300 ms on end.

    Where a loaded machine lets Chrome's jitter buffer run dry, the tone has holes that are not the page's.
    """
    looks: list[dict[str, float]] = []

    def right(one: dict[str, float]) -> bool:
        if dbfs <= -120:
            return one["dbfs"] < -80
        return abs(one["dbfs"] - dbfs) < 1.5 and abs(one["hz"] - hz) < 12

    await page.evaluate("heard.length = 0")
    deadline = time.monotonic() + timeout_s
    while len(looks) < 3 or not all(right(one) for one in looks[-3:]):
        assert time.monotonic() < deadline, f"{hz} Hz at {dbfs} dBFS was not heard: {looks[-10:]}"
        await asyncio.sleep(0.1)
        looks = await page.evaluate("heard")
    assert all(one["empty"] == 0 for one in looks), "a microphone always has a channel"


def tone_of(sound: Samples) -> tuple[float, float]:
    """Frequency and level of the strongest tone; 0 Hz and -120 dBFS for silence."""
    if not sound.size or np.max(np.abs(sound)) < 0.001:
        return 0.0, -120.0
    fit = fit_sine(sound, RATE_HZ)
    return fit.hz, fit.dbfs


async def sends(wire: Wire, hz: float, dbfs: float = -20, timeout_s: float = 15) -> None:
    """Wait until the page sends this tone for 300 ms on end."""
    wire.received.clear()
    deadline = time.monotonic() + timeout_s
    found = (0.0, -120.0)
    while abs(found[0] - hz) > 1 or abs(found[1] - dbfs) > 1.5:
        assert time.monotonic() < deadline, f"{hz} Hz at {dbfs} dBFS was not sent, but {found}"
        await asyncio.sleep(0.1)
        found = tone_of(wire.heard(0.3))


async def until(page: PageTarget, expression: str, timeout_s: float = 10) -> None:
    """Wait until *expression* is true in the page."""
    deadline = time.monotonic() + timeout_s
    while not await page.evaluate(expression):
        assert time.monotonic() < deadline, f"not true within {timeout_s} s: {expression}"
        await asyncio.sleep(0.1)


async def test_a_microphone_opened_before_any_connection_sounds_when_it_comes(browser: ChromiumProcess) -> None:
    async with opened(browser) as (page, wire, _):
        await page.evaluate("""(async () => {
            globalThis.stream = await navigator.mediaDevices.getUserMedia({audio: true});
            globalThis.context = await open(16000);
            listen(context, context.createMediaStreamSource(stream));
        })()""")
        await hears(page, 0, -120)
        await connect(page, wire)
        await page.call("startMedia", PCMU)
        wire.say(sine(1000, -20, 60, RATE_HZ))
        await hears(page, 1000)

        await page.evaluate("stream.getAudioTracks()[0].enabled = false")
        await hears(page, 0, -120)
        await page.evaluate("stream.getAudioTracks()[0].enabled = true")
        await hears(page, 1000)
        await page.evaluate("stream.getAudioTracks()[0].stop()")
        await page.evaluate("heard.length = 0")
        await asyncio.sleep(0.5)
        assert all(one["dbfs"] < -80 for one in await page.evaluate("heard.slice(2)"))


@pytest.mark.parametrize("rate_hz", [44100, 48000])
async def test_other_sample_rates_work_both_ways(browser: ChromiumProcess, rate_hz: int) -> None:
    async with opened(browser) as (page, wire, _):
        await connect(page, wire)
        await page.call("startMedia", PCMU)
        wire.say(sine(1000, -20, 60, RATE_HZ))
        await page.evaluate(f"""(async () => {{
            const context = globalThis.context = await open({rate_hz});
            const stream = await navigator.mediaDevices.getUserMedia({{audio: true}});
            listen(context, new MediaStreamAudioSourceNode(context, {{mediaStream: stream}}));
            globalThis.player = play(context, 500, 0.1);
            player.connect(context.destination);
        }})()""")
        await hears(page, 1000)
        await sends(wire, 500)
        assert (await page.call("stats"))["worklet"] == "wasm"


async def test_only_the_playback_of_a_call_is_taken(browser: ChromiumProcess) -> None:
    """Worklets at the destination are; oscillators, buffers, elements and what a worklet merely filters are not."""
    async with opened(browser) as (page, wire, _):
        await connect(page, wire)
        await page.call("startMedia", PCMU)
        await page.evaluate("""(async () => {
            const context = globalThis.context = await open(48000);
            const tone = new OscillatorNode(context, {frequency: 2000});
            tone.connect(context.destination);
            const buffer = context.createBuffer(1, 48000, 48000);
            buffer.getChannelData(0).fill(0.5);
            const sound = new AudioBufferSourceNode(context, {buffer, loop: true});
            sound.connect(context.destination);
            // Fed by something: it filters, though what it gives is a sound of its own here.
            const filter = new AudioWorkletNode(context, "player", {processorOptions: {hz: 1500, amplitude: 0.1}});
            tone.connect(filter).connect(context.destination);
            [tone, sound].forEach((source) => source.start());
        })()""")
        # As long as the engine waits before it looks for what is unusual, and some more.
        await asyncio.sleep(2.2)
        wire.received.clear()
        await asyncio.sleep(0.6)
        assert tone_of(wire.heard(0.6))[1] == -120

        await page.evaluate("(globalThis.first = play(context, 500, 0.1)).connect(context.destination)")
        await sends(wire, 500)

        # One that is named for playback is the call's; the other one is not any more, until it is alone again.
        await page.evaluate("""
            globalThis.named = play(context, 800, 0.1, "some-playback-processor");
            named.connect(context.destination)""")
        await sends(wire, 800)
        await page.evaluate("named.disconnect()")
        await sends(wire, 500)

        # Cut and connected again in one turn, as a page does that changes its volume node.
        await page.evaluate("""
            first.disconnect();
            first.connect(new GainNode(context, {gain: 0.5})).connect(context.destination)""")
        await sends(wire, 500)

        # Nobody but the graph holds the volume node now.
        await page.send("HeapProfiler.enable")
        await page.send("HeapProfiler.collectGarbage", timeout_s=20)
        await page.evaluate("new GainNode(context).connect(context.destination)")
        await sends(wire, 500)


UNUSUAL: Final = {
    "a worklet of any name, into a media element": """
        const to = new MediaStreamAudioDestinationNode(context);
        play(context, HZ, 0.1).connect(to);
        globalThis.element = Object.assign(new Audio(), {srcObject: to.stream});
        const speaker = (await navigator.mediaDevices.enumerateDevices()).find(({kind}) => kind === "audiooutput");
        await element.setSinkId(speaker.deviceId);
        await context.setSinkId(speaker.deviceId);
        element.play();""",
    "a worklet that something silent keeps running": """
        const clock = new ConstantSourceNode(context, {offset: 0});
        const player = new AudioWorkletNode(context, "player", {processorOptions: {hz: HZ, amplitude: 0.1}});
        clock.connect(player).connect(context.destination);
        clock.start();""",
    "a script processor": """
        const player = context.createScriptProcessor(1024, 0, 1);
        let at = 0;
        player.onaudioprocess = ({outputBuffer}) => {
          const samples = outputBuffer.getChannelData(0);
          samples.forEach((_, i) => { samples[i] = 0.1 * Math.sin(2 * Math.PI * HZ * at++ / context.sampleRate); });
        };
        globalThis.kept = player;
        player.connect(context.destination);""",
    "one node for both directions": """
        const stream = await navigator.mediaDevices.getUserMedia({audio: {echoCancellation: true}});
        const duplex = new AudioWorkletNode(context, "player", {processorOptions: {hz: HZ, amplitude: 0.1}});
        context.createMediaStreamSource(stream).connect(duplex).connect(context.destination);""",
    "what a connection received, in an element that is in no document": """
        const [near, far] = [new RTCPeerConnection(), new RTCPeerConnection()];
        near.onicecandidate = ({candidate}) => far.addIceCandidate(candidate);
        far.onicecandidate = ({candidate}) => near.addIceCandidate(candidate);
        far.ontrack = ({streams}) => {
          globalThis.element = Object.assign(new Audio(), {autoplay: true, srcObject: streams[0]});
        };
        const from = new MediaStreamAudioDestinationNode(context);
        const tone = new OscillatorNode(context, {frequency: HZ});
        tone.connect(new GainNode(context, {gain: 0.1})).connect(from);
        tone.start();
        near.addTrack(from.stream.getAudioTracks()[0], from.stream);
        await near.setLocalDescription();
        await far.setRemoteDescription(near.localDescription);
        await far.setLocalDescription();
        await near.setRemoteDescription(far.localDescription);
        globalThis.kept = [near, far];""",
}
"""How a page may play the call's sound, other than WhatsApp does."""


async def test_a_call_that_is_played_in_another_way_is_heard(browser: ChromiumProcess) -> None:
    async with opened(browser) as (page, wire, _):
        await connect(page, wire)
        for number, (how, script) in enumerate(UNUSUAL.items()):
            hz = 500 + 100 * number
            await page.call("startMedia", PCMU)
            begin = f"const HZ = {hz}; const context = globalThis.context = await open(48000);"
            await page.evaluate(f"(async () => {{ {begin} {script} }})()")
            try:
                await sends(wire, hz, dbfs=-20, timeout_s=20)
            except AssertionError as fault:
                fault.add_note(how)
                raise
            await page.evaluate("globalThis.element?.pause(), delete globalThis.element, context.close()")
            await page.call("stopMedia")


async def test_playback_nodes_of_one_context_are_mixed_and_limited(browser: ChromiumProcess) -> None:
    async with opened(browser) as (page, wire, _):
        await connect(page, wire)
        await page.evaluate("""(async () => {
            const context = globalThis.context = await open(16000);
            for (let n = 0; n < 10; n++) play(context, 500, 0.02).connect(context.destination);
        })()""")
        await page.call("startMedia", PCMU)
        await sends(wire, 500, -14)  # 10 x 0.02, in phase: made in one turn

        await page.evaluate("for (let n = 0; n < 4; n++) play(context, 500, 0.9).connect(context.destination)")
        await asyncio.sleep(1)
        assert np.max(np.abs(wire.heard(0.6))) <= 0.93  # -1 dBFS and G.711's rounding
        assert (await page.call("stats"))["speaker"]["clipped"] > 0


async def test_the_newest_of_two_contexts_is_sent_and_the_other_when_it_closes(browser: ChromiumProcess) -> None:
    async with opened(browser) as (page, wire, _):
        await connect(page, wire)
        await page.call("startMedia", PCMU)
        await page.evaluate("""(async () => {
            globalThis.older = await open(16000);
            play(older, 500, 0.1).connect(older.destination);
            globalThis.newer = await open(48000);
            play(newer, 900, 0.1).connect(newer.destination);
        })()""")
        await sends(wire, 900)
        await page.evaluate("newer.close()")
        await sends(wire, 500)


async def test_other_uses_of_the_track_hear_the_microphone(browser: ChromiumProcess) -> None:
    """A page that sends the track through a connection of its own, and listens to its clone by an element's stream."""
    async with opened(browser) as (page, wire, _):
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


async def test_a_page_that_forbids_wasm_is_heard_all_the_same(browser: ChromiumProcess) -> None:
    async with opened(browser, "?nowasm") as (page, wire, events):
        await connect(page, wire)
        await page.call("startMedia", PCMU)
        wire.say(sine(1000, -20, 60, RATE_HZ))
        await page.evaluate("""(async () => {
            const context = globalThis.context = await open(16000);
            const stream = await navigator.mediaDevices.getUserMedia({audio: true});
            listen(context, context.createMediaStreamSource(stream));
            play(context, 500, 0.1).connect(context.destination);
        })()""")
        await hears(page, 1000)
        await sends(wire, 500)
        stats = await page.call("stats")
        assert (stats["worklet"], stats["mic"]["rms_dbfs"]) == ("plain", None)
        assert any("without the media module" in event.get("message", "") for event in events)


async def test_coming_of_the_module_makes_no_click(browser: ChromiumProcess) -> None:
    """The page listens to a tone while the path changes from plain to the module."""
    async with opened(browser) as (page, wire, _):
        await connect(page, wire)
        await page.call("startMedia", PCMU)
        wire.say(sine(300, -20, 8, RATE_HZ))
        # The listener is there before our module: it sees the change, which comes some tens of milliseconds later.
        await asyncio.sleep(1)
        await page.evaluate("""(async () => {
            const context = globalThis.context = await open(48000);
            const stream = await navigator.mediaDevices.getUserMedia({audio: true});
            listen(context, context.createMediaStreamSource(stream));
        })()""")
        await until(page, "__ponte.stats().then((stats) => stats.mic.frames > 0)")
        await asyncio.sleep(0.3)
        found = await page.evaluate("heard")
        # A sine of 300 Hz at 0.1 moves 0.004 from sample to sample at most; a cut in it could move 0.1 and more.
        assert max(one["step"] for one in found) < 0.02
        assert max(one["dbfs"] for one in found) < -18


async def test_the_page_finds_a_browser_as_it_was(browser: ChromiumProcess) -> None:
    async with opened(browser) as (page, _, _):
        assert await page.evaluate("""(async () => {
            const context = new AudioContext();
            const node = new GainNode(context);
            const chained = node.connect(context.destination) === context.destination;
            const subclass = new (class extends OscillatorNode {})(context) instanceof AudioNode;
            const names = [AudioNode.prototype.connect.name, navigator.mediaDevices.getUserMedia.name];
            let refused = "";
            try { node.disconnect(new GainNode(context)); } catch (error) { refused = error.name; }
            const element = new OscillatorNode(context);
            const foreign = context.createMediaStreamDestination().stream;
            const source = context.createMediaStreamSource(foreign);
            const video = await navigator.mediaDevices.getUserMedia({video: true}).catch((error) => error.name);
            return [chained, subclass, names, refused, source.mediaStream === foreign, video];
        })()""") == [True, True, ["connect", "getUserMedia"], "InvalidAccessError", True, "NotFoundError"]
