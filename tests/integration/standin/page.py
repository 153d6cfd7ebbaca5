"""One tab of a Chromium, driven over raw CDP: nothing but evaluate, scripts at document start, and navigation."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx2
import websockets

ROOT: Final = Path(__file__).resolve().parents[3]
WAJS: Final = ROOT / "wasm_server/page/node_modules/@wppconnect/wa-js/dist/wppconnect-wa.js"

# wa-js as published, told not to phone home.
WITH_WAJS: Final = "globalThis.WPPConfig = {disableGoogleAnalytics: true};\n"

# Notes what the calling modules tell: the active call, its states, and what is known of it at that moment.
WATCH: Final = """
(() => {
  const store = importDefault("WAWebCallCollection");
  globalThis.told = [];
  store.on("change:activeCall", (call) => {
    if (!call) { told.push("none"); return; }
    globalThis.lastCall = call;
    told.push(`active ${call.getState()}`);
    call.on("change:state", () => told.push(call.peerBusy ? `busy ${call.getState()}` : call.getState()));
  });
})()
"""

# A microphone that is a tone generator, and a look at what the page plays. It is the test's stand-in for a driver.
FAKE_DEVICES: Final = """
(() => {
  const context = () => (globalThis.fakeContext ??= new AudioContext({sampleRate: 16000}));
  const gain = () => {
    if (!globalThis.fakeGain) {
      globalThis.fakeGain = new GainNode(context(), {gain: 0});
      const oscillator = new OscillatorNode(context(), {frequency: 700});
      oscillator.connect(fakeGain);
      oscillator.start();
    }
    return fakeGain;
  };
  navigator.mediaDevices.enumerateDevices = async () =>
    [{kind: "audioinput", deviceId: "fake", groupId: "fake", label: "fake"}];
  navigator.mediaDevices.getUserMedia = async () => {
    const destination = context().createMediaStreamDestination();
    gain().connect(destination);
    return destination.stream;
  };
  globalThis.speak = (amplitude, startS, seconds) => {
    const at = context().currentTime + startS;
    gain().gain.setValueAtTime(amplitude, at);
    if (seconds) gain().gain.setValueAtTime(0, at + seconds);
  };
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (target, ...rest) {
    if (this instanceof AudioWorkletNode) {
      (globalThis.players ??= []).push({node: this, target: target.constructor.name});
    }
    return connect.call(this, target, ...rest);
  };
  globalThis.record = () => {
    const {node} = players.at(-1);
    const recorder = node.context.createScriptProcessor(16384, 1, 1);
    globalThis.recorded = [];
    recorder.onaudioprocess = (event) => recorded.push(new Float32Array(event.inputBuffer.getChannelData(0)));
    connect.call(node, recorder);
    connect.call(recorder, node.context.createMediaStreamDestination());
    globalThis.recorder = recorder;
  };
})();
"""


class PageError(Exception):
    """An exception that was thrown in the page."""


class Page:
    """A tab. Use :func:`open_tab`."""

    def __init__(self, websocket: websockets.ClientConnection) -> None:
        self._websocket = websocket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def pump(self) -> None:
        """Take in answers until the connection closes."""
        async for text in self._websocket:
            message = json.loads(text)
            waiting = self._waiting.pop(message.get("id", 0), None)
            if waiting is not None and not waiting.done():
                waiting.set_result(message)

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a CDP command and return its result."""
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        await self._websocket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        message = await asyncio.wait_for(answer, 20)
        if "error" in message:
            raise PageError(message["error"]["message"])
        result: dict[str, Any] = message["result"]
        return result

    async def evaluate(self, expression: str, *, gesture: bool = True) -> Any:
        """Return the (awaited) value of *expression*.

        Args:
            expression: JavaScript.
            gesture: whether it counts as something that the user did.

        Raises:
            PageError: it threw.
        """
        result = await self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=gesture,
            allowUnsafeEvalBlockedByCSP=False,
        )  # fmt: skip
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise PageError(details.get("exception", {}).get("description") or details["text"])
        return result["result"].get("value")

    async def wait_for(self, expression: str, timeout_s: float = 20, *, gesture: bool = True) -> Any:
        """Return *expression*'s value once it is true; it may throw until then."""
        deadline = time.monotonic() + timeout_s
        while True:
            last: object = None
            try:
                if last := await self.evaluate(expression, gesture=gesture):
                    return last
            except PageError as error:
                last = error
            assert time.monotonic() < deadline, f"not true within {timeout_s} s: {expression}: {last}"
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def open_tab(chromium_url: str, url: str, *scripts: str) -> AsyncIterator[Page]:
    """Open a tab at *url* with *scripts* at document start, and close it with the block.

    Args:
        chromium_url: the CDP address, ``http://host:port``.
        url: where to go.
        scripts: run in the main world before the page's own.
    """
    async with httpx2.AsyncClient() as client:
        target = (await client.put(f"{chromium_url}/json/new?about:blank")).json()
        async with websockets.connect(target["webSocketDebuggerUrl"], max_size=None, compression=None) as websocket:
            page = Page(websocket)
            pump = asyncio.create_task(page.pump())  # awaited below; a TaskGroup would wrap every failed assertion
            try:
                await page.send("Page.enable")
                for script in scripts:
                    await page.send("Page.addScriptToEvaluateOnNewDocument", source=script)
                await page.send("Page.navigate", url=url)
                yield page
            finally:
                await client.get(f"{chromium_url}/json/close/{target['id']}")
                pump.cancel()
                await asyncio.gather(pump, return_exceptions=True)
