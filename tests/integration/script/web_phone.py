"""Two small web phones that know nothing of Ponte, and the person at the other end of their calls, in another page."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from gateway.browser import CdpConnection
from tests.integration.wasm_server.rig import serve

_CLIENT: Final = Path(__file__).with_name("client.html")

AUDIO: Final = {
    # Plays what it receives in a media element that is in no document.
    "element": """
        const player = new Audio();
        player.autoplay = true;
        const microphone = () => navigator.mediaDevices.getUserMedia({audio: true});
        const play = (stream) => { player.srcObject = stream; };
    """,
    # Puts both directions through Web Audio; Chrome wants a muted element beside it.
    "web_audio": """
        let context = null;
        const muted = new Audio();
        muted.muted = true;
        const microphone = async () => {
          context ??= new AudioContext();
          await context.resume();
          const sink = context.createMediaStreamDestination();
          const stream = await navigator.mediaDevices.getUserMedia({audio: true});
          context.createMediaStreamSource(stream).connect(context.createGain()).connect(sink);
          return sink.stream;
        };
        const play = (stream) => {
          muted.srcObject = stream;
          muted.play();
          context.createMediaStreamSource(stream).connect(context.createGain()).connect(context.destination);
        };
    """,
}

_FAR_END: Final = """(async () => {
    const context = new AudioContext();
    await context.resume();
    const sink = context.createMediaStreamDestination();
    const tone = context.createOscillator();
    tone.frequency.value = 700;
    const level = context.createGain();
    level.gain.value = 0.1;
    tone.connect(level).connect(sink);
    tone.start();
    const analyser = context.createAnalyser();
    analyser.fftSize = 8192;
    globalThis.loudest = () => {
        const bins = new Float32Array(analyser.frequencyBinCount);
        analyser.getFloatFrequencyData(bins);
        const at = bins.indexOf(Math.max(...bins));
        return bins[at] > -50 ? at * context.sampleRate / analyser.fftSize : 0;
    };
    globalThis.take = async (sdp) => {
        const peer = globalThis.peer = new RTCPeerConnection();
        peer.ontrack = ({streams}) => {
            globalThis.muted = new Audio();
            muted.muted = true;
            muted.srcObject = streams[0];
            muted.play();
            context.createMediaStreamSource(streams[0]).connect(analyser);
        };
        await peer.setRemoteDescription({type: "offer", sdp});
        peer.addTrack(sink.stream.getAudioTracks()[0], sink.stream);
        await peer.setLocalDescription();
        await new Promise((done) => {
            const look = () => peer.iceGatheringState === "complete" && done();
            peer.onicegatheringstatechange = look;
            look();
        });
        return peer.localDescription.sdp;
    };
})()"""


class WebPhone:
    """The web phone's server, and the person at the other end.

    Attributes:
        url: of the web phone.
        state: of its call: ``idle``, ``ringing in``, ``ringing out``, ``talking``, ``over``.
        dialled: what was called last.
    """

    def __init__(self, kind: str) -> None:
        self.url = ""
        self.state = "idle"
        self.caller = ""
        self.dialled = ""
        self._kind = kind
        self._cdp: CdpConnection | None = None
        self._session = ""

    def ring(self, caller: str) -> None:
        """Call the web phone."""
        self.state, self.caller = "ringing in", caller

    def pick_up(self) -> None:
        """Answer its call."""
        self.state = "talking"

    def hang_up(self) -> None:
        """End the call."""
        self.state = "over"

    async def hears(self, hz: float, timeout_s: float = 15) -> None:
        """Wait until the person hears a tone."""
        async with asyncio.timeout(timeout_s):
            while abs(float(await self._evaluate("loudest()")) - hz) > 15:  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    async def _evaluate(self, expression: str) -> Any:
        assert self._cdp is not None
        params: dict[str, object] = {
            "expression": expression, "awaitPromise": True, "returnByValue": True, "userGesture": True,
        }  # fmt: skip
        answer = await self._cdp.send("Runtime.evaluate", params, session_id=self._session)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def start_far_end(self, cdp: CdpConnection) -> None:
        """Open the page of the person at the other end; another origin than the phone's."""
        self._cdp = cdp
        url = f"http://localhost:{urlsplit(self.url).port}/far-end"
        target = (await cdp.send("Target.createTarget", {"url": url}))["targetId"]
        attached = await cdp.send("Target.attachToTarget", {"targetId": target, "flatten": True})
        self._session = str(attached["sessionId"])
        async with asyncio.timeout(10):
            while await self._evaluate("location.href") != url:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await self._evaluate(_FAR_END)

    def app(self) -> Starlette:
        """The web phone's site."""

        async def client(_: Request) -> Response:
            return Response(_CLIENT.read_text(), media_type="text/html")

        async def audio(_: Request) -> Response:
            return Response(AUDIO[self._kind], media_type="text/javascript")

        async def far_end(_: Request) -> Response:
            return Response("<!doctype html><title>far end</title>", media_type="text/html")

        async def offer(request: Request) -> Response:
            body = await request.json()
            if self.state == "ringing in":
                self.state = "talking"
            else:
                self.state, self.dialled = "ringing out", body["number"]
            return PlainTextResponse(await self._evaluate(f"take({json.dumps(body['sdp'])})"))

        async def state(_: Request) -> Response:
            return JSONResponse({"state": self.state, "caller": self.caller})

        async def hangup(_: Request) -> Response:
            self.state = "over"
            return Response()

        return Starlette(
            routes=[
                Route("/", client), Route("/audio.js", audio), Route("/far-end", far_end), Route("/state", state),
                Route("/offer", offer, methods=["POST"]), Route("/hangup", hangup, methods=["POST"]),
            ]
        )  # fmt: skip


@contextlib.asynccontextmanager
async def web_phone(kind: str) -> AsyncIterator[WebPhone]:
    """Serve a web phone of that kind."""
    found = WebPhone(kind)
    async with serve(found.app()) as url:
        found.url = f"{url}/"
        yield found
