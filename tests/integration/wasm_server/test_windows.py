"""Windows that a page opens beside itself, and pages that were in the middle of something when the gateway came."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from gateway.browser.cdp import CdpConnection, connect_cdp
from gateway.browser.endpoint import parse_browser_url
from gateway.browser.settings import BrowserSettings
from tests.integration.wasm_server.rig import RATE_HZ, attached, connect
from tests.integration.wasm_server.site import site
from tests.integration.wasm_server.test_page_audio import PCMU, sends, until
from tests.support.audio import sine
from tests.support.chromium import ChromiumProcess, chromium

pytestmark = [pytest.mark.integration, pytest.mark.alone, pytest.mark.asyncio(loop_scope="module")]

LABEL = "Ponte microphone"
PLAYS = """(async (window) => {
    const context = new window.AudioContext({sampleRate: 48000});
    await context.audioWorklet.addModule("/processors.js");
    await context.resume();
    const node = new window.AudioWorkletNode(context, "player", {
        numberOfInputs: 0, outputChannelCount: [1], processorOptions: {hz: %d, amplitude: 0.1},
    });
    const volume = context.createGain();
    node.connect(volume).connect(context.destination);
    Object.assign(globalThis, {node, volume});
})(%s)"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[ChromiumProcess]:
    async with chromium() as process:
        yield process


@contextlib.asynccontextmanager
async def before_us(browser: ChromiumProcess, url: str, script: str) -> AsyncIterator[None]:
    """Open a page as a person would, without a bundle, and have it do something."""
    async with connect_cdp(parse_browser_url(browser.http_url), BrowserSettings()) as cdp:
        target = (await cdp.send("Target.createTarget", {"url": "about:blank"}))["targetId"]
        attachment = await cdp.send("Target.attachToTarget", {"targetId": target, "flatten": True})
        session = str(attachment["sessionId"])
        # answered once the new document is there: what runs before would run in the old one
        await cdp.send("Page.navigate", {"url": url}, session_id=session)
        await evaluate(cdp, session, "new Promise((ok) => document.readyState === 'complete' ? ok() : onload = ok)")
        await evaluate(cdp, session, script)
        yield


async def evaluate(cdp: CdpConnection, session: str, expression: str) -> None:
    params: dict[str, object] = {"expression": expression, "awaitPromise": True, "userGesture": True}
    answer = await cdp.send("Runtime.evaluate", params, session_id=session)
    assert "exceptionDetails" not in answer, answer


async def test_a_window_has_our_microphone_and_is_heard(browser: ChromiumProcess) -> None:
    async with site() as url, attached(browser, url + "plain") as (page, wire, events):
        # The page reaches into a window that is still empty, in the very task that opens it.
        label = "stream.getAudioTracks()[0].label"
        assert await page.evaluate(f"""(async () => {{
            globalThis.popout = window.open("");
            const stream = await popout.navigator.mediaDevices.getUserMedia({{audio: true}});
            return {label};
        }})()""") == LABEL  # fmt: skip
        assert [event["message"] for event in events if event["type"] == "log"] == [
            "the page opened another window, which is hooked too"
        ]
        await connect(page, wire)
        await page.call("startMedia", PCMU)
        await page.evaluate(PLAYS % (700, "popout"))
        await sends(wire, 700)
        assert (await page.call("stats"))["worklet"] == "wasm", "the window's worklet was answered"

        # A window with a document of its own, whose first line keeps the browser's function.
        await page.evaluate('globalThis.second = window.open("/popout"); 1')
        await until(page, "second.label !== undefined")
        assert await page.evaluate("second.label") == LABEL
        await page.evaluate('popout.location.href = "/popout"; 1')
        await until(page, "popout.label !== undefined")
        assert await page.evaluate("popout.label") == LABEL

        # A window of another origin opens as it does without us.
        await page.evaluate(f'globalThis.foreign = window.open("{url.replace("127.0.0.1", "localhost")}popout"); 1')
        await until(page, "(() => { try { return foreign.origin === 'x'; } catch { return true; } })()")
        await page.evaluate("[popout, second, foreign].forEach((window) => window.close())")


async def test_sound_that_a_page_was_playing_is_taken_up_where_it_is(browser: ChromiumProcess) -> None:
    async with (
        site() as url,
        before_us(browser, url + "plain", PLAYS % (600, "globalThis")),
        attached(browser, url + "plain") as (page, wire, _),
    ):
        assert page.late
        assert not page.microphone_taken
        await connect(page, wire)
        await page.call("startMedia", PCMU)
        await sends(wire, 600)
        await page.evaluate("volume.disconnect()")
        await sends(wire, 0, -120)
        await page.evaluate("volume.connect(volume.context.destination)")
        await sends(wire, 600)


SENDS = """(async () => {
    const context = new AudioContext();
    const stream = context.createMediaStreamDestination().stream;
    const [from, to] = [new RTCPeerConnection(), new RTCPeerConnection()];
    from.addTrack(stream.getAudioTracks()[0], stream);
    const arrived = new Promise((done) => { to.ontrack = ({streams}) => done(streams[0]); });
    for (const [one, other] of [[from, to], [to, from]]) {
        one.onicecandidate = ({candidate}) => other.addIceCandidate(candidate);
    }
    await from.setLocalDescription();
    await to.setRemoteDescription(from.localDescription);
    await to.setLocalDescription();
    await from.setRemoteDescription(to.localDescription);
    globalThis.arrived = await arrived;
    globalThis.peers = [from, to];
    navigator.mediaDevices.getUserMedia({audio: true}).catch(() => undefined);
})()"""
MEASURE = """(async () => {
    const muted = new Audio();
    muted.muted = true;
    muted.srcObject = arrived;
    await muted.play();
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    context.createMediaStreamSource(arrived).connect(analyser);
    globalThis.loudest = () => {
        const bins = new Float32Array(analyser.frequencyBinCount);
        analyser.getFloatFrequencyData(bins);
        const at = bins.indexOf(Math.max(...bins));
        return bins[at] > -60 ? at * context.sampleRate / analyser.fftSize : 0;
    };
})()"""


async def test_a_page_that_was_at_the_microphone_is_said_so_and_sends_ours(browser: ChromiumProcess) -> None:
    async with (
        site() as url,
        before_us(browser, url + "plain", SENDS),
        attached(browser, url + "plain") as (page, wire, _),
    ):
        assert page.late
        assert page.microphone_taken
        await connect(page, wire)
        await page.call("startMedia", PCMU)
        wire.say(sine(1000, -10, 60, RATE_HZ))
        await page.evaluate(MEASURE)
        await until(page, "Math.abs(loudest() - 1000) < 60", 15)
        await page.reload()
        await until(page, "globalThis.__ponte !== undefined")
        assert not page.microphone_taken
