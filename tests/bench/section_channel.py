"""A data channel beside the path of encoded frames: delay, loss and CPU of the transport alone, to and from a page.

What each carries a second: 50 packets of G.711 to the page. From the page 50 RTP packets of its own encoder, or 100
messages of 10 ms on the channel, which is unordered and never sends twice. Times are those of the sender's clock in the
frame itself, read where the frame comes out: a worker of the page, and this process.

The decision that follows from these figures is in docs/media.md.
"""

from __future__ import annotations

import asyncio
import json
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from aiortc import RTCPeerConnection, RTCSessionDescription
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from gateway.browser.cdp import CdpConnection, connect_cdp
from gateway.browser.endpoint import parse_browser_url
from gateway.browser.settings import BrowserSettings
from gateway.protocol.rtp import HEADER
from gateway.webrtc.leg import WebRtcLeg
from gateway.webrtc.seam import local_addresses
from tests.bench.page.world import HOST, cpu_s, until
from tests.bench.results import Section
from tests.integration.wasm_server.rig import serve
from tests.support.chromium import ChromiumProcess, chromium

FRAME: Final = 160
_WORKER: Final = """
const read = (data) => new DataView(data).getFloat64(0);
const late = [];
onmessage = ({data}) => {
    if (data === "told") postMessage(late);
    else if (data instanceof ArrayBuffer) late.push(Date.now() - read(data));
};
onrtctransform = async ({transformer}) => {
    const reader = transformer.readable.getReader();
    const writer = transformer.writable.getWriter();
    for (;;) {
        const {done, value} = await reader.read();
        if (done) return;
        if (value.data.byteLength >= 160) late.push(Date.now() - read(value.data));
    }
};
postMessage("ready");
"""
_PAGE: Final = """
const worker = new Worker("/worker.js");
const ready = new Promise((resolve) => { worker.onmessage = resolve; });
const told = () => new Promise((resolve) => {
    worker.onmessage = ({data}) => resolve(data);
    worker.postMessage("told");
});
const peer = new RTCPeerConnection();
const answer = async (sdp, track = null) => {
    await peer.setRemoteDescription({type: "offer", sdp});
    if (track !== null) {
        // not before: a receiver that is older than the description takes no transform
        const [transceiver] = peer.getTransceivers();
        transceiver.direction = "sendrecv";
        await transceiver.sender.replaceTrack(track);
    }
    await peer.setLocalDescription(await peer.createAnswer());
    await new Promise((resolve) => {
        if (peer.iceGatheringState === "complete") resolve();
        peer.onicegatheringstatechange = () => peer.iceGatheringState === "complete" && resolve();
    });
    return peer.localDescription.sdp;
};
const rtp = async (sdp) => {
    await ready;  // a worker that does not run yet gets no frame
    peer.ontrack = ({receiver}) => { receiver.transform = new RTCRtpScriptTransform(worker); };
    const context = new AudioContext();
    await context.resume();
    const destination = context.createMediaStreamDestination();
    const tone = context.createOscillator();
    tone.connect(destination);
    tone.start();
    return await answer(sdp, destination.stream.getAudioTracks()[0]);
};
const channel = async (sdp) => {
    peer.ondatachannel = ({channel}) => {
        channel.binaryType = "arraybuffer";
        channel.onmessage = ({data}) => worker.postMessage(data, [data]);
        const frame = new ArrayBuffer(80);
        setInterval(() => {
            new DataView(frame).setFloat64(0, Date.now());
            if (channel.readyState === "open") channel.send(frame);
        }, 10);
    };
    return await answer(sdp);
};
"""


@dataclass(slots=True)
class Page:
    """An empty page on loopback."""

    browser: ChromiumProcess
    cdp: CdpConnection
    session: str

    async def evaluate(self, expression: str) -> Any:
        """Evaluate with a user's gesture."""
        answer = await self.cdp.send(
            "Runtime.evaluate",
            {"expression": expression, "awaitPromise": True, "returnByValue": True, "userGesture": True},
            session_id=self.session,
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(f"the page could not: {answer['exceptionDetails']}")
        return answer["result"].get("value")


@asynccontextmanager
async def _page() -> AsyncIterator[Page]:
    async def page(_request: object) -> HTMLResponse:
        return HTMLResponse("<title>channel</title>")

    async def worker(_request: object) -> Response:
        return Response(_WORKER, media_type="text/javascript")

    routes = [Route("/", page), Route("/worker.js", worker)]
    async with (
        serve(Starlette(routes=routes)) as url,
        chromium(["--allow-loopback-in-peer-connection"], url) as browser,
        connect_cdp(parse_browser_url(browser.http_url), BrowserSettings()) as cdp,
    ):
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(15):
            while not found:
                targets = (await cdp.send("Target.getTargets"))["targetInfos"]
                found = [one for one in targets if one["type"] == "page" and one["title"] == "channel"]
        session = await cdp.send("Target.attachToTarget", {"targetId": found[0]["targetId"], "flatten": True})
        opened = Page(browser, cdp, session["sessionId"])
        await opened.evaluate(_PAGE.replace("const ", "var "))
        yield opened


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one run.

    Attributes:
        down_ms: delay of each frame to the page.
        up_ms: the same from it; empty where its frames carry no time.
        lost: frames that did not arrive, of both directions.
        gateway_ms: CPU of this process in a second.
        chrome_ms: CPU of Chromium in a second.
    """

    down_ms: list[float]
    up_ms: list[float]
    lost: int
    gateway_ms: float
    chrome_ms: float


async def _paced(seconds: float, send: Any) -> int:
    loop, number = asyncio.get_running_loop(), 0
    start = loop.time()
    while number * 0.02 < seconds:
        await asyncio.sleep(max(0.0, start + number * 0.02 - loop.time()))
        send(number, struct.pack(">d", 1000 * time.time()) + b"\xff" * (FRAME - 8))
        number += 1
    return number


async def _run(page: Page, seconds: float, send: Any, up_ms: list[float]) -> Figures:
    await asyncio.sleep(1.5)
    up_ms.clear()
    heard = len(await page.evaluate("told()"))
    chrome_s, own_s, began_s = cpu_s(page.browser), time.process_time(), time.monotonic()
    sent = await _paced(seconds, send)
    took_s = time.monotonic() - began_s
    own_ms = 1000 * (time.process_time() - own_s) / took_s
    chrome_ms = 1000 * (cpu_s(page.browser) - chrome_s) / took_s
    await asyncio.sleep(0.3)
    down = (await page.evaluate("told()"))[heard:]
    return Figures([float(one) for one in down], list(up_ms), sent - len(down), own_ms, chrome_ms)


async def _by_rtp(seconds: float) -> Figures:
    async with _page() as page:
        leg = WebRtcLeg(addresses=[*local_addresses(), HOST])
        try:
            await leg.accept(await page.evaluate(f"rtp({json.dumps(await leg.offer())})"))

            def send(number: int, frame: bytes) -> None:
                leg.send(HEADER.pack(0x80, 0, number & 0xFFFF, number * FRAME, leg.outgoing.ssrc) + frame)

            return await _run(page, seconds, send, [])
        finally:
            await leg.close()


async def _by_channel(seconds: float) -> Figures:
    async with _page() as page:
        peer = RTCPeerConnection()
        try:
            channel = peer.createDataChannel("audio", ordered=False, maxRetransmits=0)
            up_ms: list[float] = []

            @channel.on("message")
            def came(frame: bytes) -> None:
                up_ms.append(1000 * time.time() - struct.unpack_from(">d", frame)[0])

            await peer.setLocalDescription(await peer.createOffer())
            sdp = await page.evaluate(f"channel({json.dumps(peer.localDescription.sdp)})")
            await peer.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
            await until(lambda: channel.readyState == "open", "data channel")
            return await _run(page, seconds, lambda _, frame: channel.send(frame), up_ms)
        finally:
            await peer.close()


def run(section: Section, *, quick: bool) -> None:
    """Measure."""
    rounds = 1 if quick else 3
    found: dict[str, list[Figures]] = {"frames": [], "channel": []}
    for _ in range(rounds):
        found["frames"].append(asyncio.run(_by_rtp(8 if quick else 20)))
        found["channel"].append(asyncio.run(_by_channel(8 if quick else 20)))
    for name, title in (("frames", "encoded frames of RTP"), ("channel", "data channel, 10 ms up")):
        runs = found[name]
        for percent in (50, 95):
            section.add(
                f"{name}_down_p{percent}", f"{title}: to the page's worker, p{percent}",
                [float(np.percentile(one.down_ms, percent)) for one in runs], "ms",
            )  # fmt: skip
        if all(one.up_ms for one in runs):
            values = [float(np.percentile(one.up_ms, 95)) for one in runs]
            section.add(f"{name}_up_p95", f"{title}: from the page's main thread, p95", values, "ms")
        section.add(f"{name}_lost", f"{title}: frames lost to the page", [float(one.lost) for one in runs], "")
        section.add(f"{name}_gateway", f"{title}: CPU of the gateway a second", [one.gateway_ms for one in runs], "ms")
        section.add(f"{name}_chrome", f"{title}: CPU of Chromium a second", [one.chrome_ms for one in runs], "ms")
