"""The page's part of a call with real neighbours: the stand-in in Chromium on one side, RTP packets on the other.

The gateway's own browser and WebRTC parts bring the bundle in and carry the packets; the test is the SIP side.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import uvicorn
from starlette.applications import Starlette

from gateway.browser.assets import fetch_assets
from gateway.browser.cdp import connect_cdp
from gateway.browser.endpoint import parse_browser_url
from gateway.browser.opening import open_page
from gateway.browser.page import PageTarget
from gateway.browser.settings import BrowserSettings
from gateway.domain.codecs import CODECS
from gateway.protocol.rtp import HEADER, payload_span
from gateway.webrtc.leg import WebRtcLeg
from gateway.webrtc.sdp import PAYLOAD_TYPES
from gateway.webrtc.seam import local_addresses
from tests.standin.server import StandIn
from tests.support.audio import Samples
from tests.support.audio_codecs import Decoder, Encoder
from tests.support.chromium import ChromiumProcess
from wasm_server.app import create_app
from wasm_server.build import build, default_directory

RATE_HZ: Final = 8000
PTIME_S: Final = 0.02
_CODECS: Final = {number: name for name, number in PAYLOAD_TYPES.items()}


@dataclass(frozen=True, slots=True)
class Packet:
    """An RTP packet of the page.

    Attributes:
        codec: what it is coded in.
        samples: its sound.
        timestamp: of its first sample, by the clock of the codec.
        wall_s: when it came.
    """

    codec: str
    samples: Samples
    timestamp: int
    wall_s: float


@dataclass(slots=True)
class Wire:
    """The SIP side: packets in both directions of a leg, paced by the clock."""

    leg: WebRtcLeg
    received: list[Packet] = field(default_factory=list)
    sent_at_s: dict[int, float] = field(default_factory=dict)
    _encoder: Encoder = field(default_factory=lambda: Encoder("PCMU"))
    _decoders: dict[str, Decoder] = field(default_factory=dict)
    _queue: list[Samples] = field(default_factory=list)
    _hum: tuple[float, float] = 0.0, 0.0
    _hummed_s: float = 0.0

    @property
    def codec(self) -> str:
        """What is sent. A change forgets the sound that waits, which is of the rate of the codec before."""
        return self._encoder.codec.name

    @codec.setter
    def codec(self, name: str) -> None:
        self._encoder = Encoder(name)
        self._queue.clear()

    @property
    def rate_hz(self) -> int:
        """Of the sound that is sent."""
        return self._encoder.codec.sample_rate_hz

    def take(self, packet: bytes, _monotonic_s: float) -> None:
        """Receive one packet; the leg's receiver."""
        _, marker_type, _, timestamp, _ = HEADER.unpack_from(packet)
        codec = _CODECS.get(marker_type & 0x7F)
        if codec is None:
            return
        first, last = payload_span(packet)
        pcm = self._decoders.setdefault(codec, Decoder(codec)).decode(packet[first:last])
        self.received.append(Packet(codec, pcm, timestamp, time.time()))

    def say(self, samples: Samples) -> None:
        """Queue sound of the codec's rate; between sounds there is silence."""
        frame = self._encoder.frame
        whole = np.concatenate([samples, np.zeros(-len(samples) % frame)])
        self._queue.extend(whole.reshape(-1, frame))

    def hum(self, hz: float, dbfs: float = -20) -> None:
        """Send a tone wherever no other sound waits, in any codec without a break."""
        self._hum = hz, 10 ** (dbfs / 20)

    def _silence(self) -> Samples:
        hz, amplitude = self._hum
        encoder = self._encoder
        times_s = self._hummed_s + np.arange(encoder.frame) / encoder.codec.sample_rate_hz
        self._hummed_s += PTIME_S
        return np.asarray(amplitude * np.sin(2 * np.pi * hz * times_s), dtype=np.float64)

    def longest_pause_ms(self) -> float:
        """The longest time without a packet of the page, of those that `received` holds."""
        walls = [packet.wall_s for packet in self.received]
        return max((1000 * (after - before) for before, after in itertools.pairwise(walls)), default=0.0)

    async def run(self) -> None:
        """Send a packet every 20 ms until cancelled."""
        start, number, timestamp = time.monotonic(), 0, 0
        while True:
            encoder = self._encoder
            frame = self._queue.pop(0) if self._queue else self._silence()
            header = HEADER.pack(0x80, PAYLOAD_TYPES[self.codec], number & 0xFFFF, timestamp, 0x1234)
            if frame.any():
                self.sent_at_s[number] = time.time()
            self.leg.send(header + encoder.encode(frame))
            number += 1
            timestamp = (timestamp + encoder.units) & 0xFFFFFFFF
            late_s = time.monotonic() - (start + number * PTIME_S)
            if late_s > PTIME_S:
                start += late_s  # a backlog in one burst would grow Chrome's jitter buffer for many seconds
            await asyncio.sleep(max(0.0, -late_s))

    async def close(self) -> None:
        """Close the leg that is in use, which may not be the first one."""
        await self.leg.close()

    def bursts_sent_s(self, quiet_packets: int = 8) -> list[float]:
        """Wall-clock instants at which sound began to be sent after silence."""
        found: list[float] = []
        last = -1000
        for number, wall_s in sorted(self.sent_at_s.items()):
            if number - last > quiet_packets:
                found.append(wall_s)
            last = number
        return found

    def bursts_received_s(self, *, threshold: float = 0.00316, quiet_s: float = 0.1) -> list[float]:
        """Wall-clock instants at which the packet came that brought the first sound after silence."""
        found: list[float] = []
        quiet = quiet_s * RATE_HZ
        for packet in self.received:
            for sample in np.abs(packet.samples):
                if sample > threshold:
                    if quiet >= quiet_s * RATE_HZ:
                        found.append(packet.wall_s)
                    quiet = 0.0
                else:
                    quiet += 1
        return found

    def heard(self, seconds: float) -> Samples:
        """The last *seconds* of what the page sent in the codec that it sent last, laid out by its timestamps."""
        packets = self.received[-round(seconds / PTIME_S) :]
        packets = [packet for packet in packets if packet.codec == packets[-1].codec]
        if not packets:
            return np.zeros(0)
        codec = CODECS[packets[0].codec]
        step = codec.sample_rate_hz // codec.clock_rate_hz
        base = packets[0].timestamp
        sound = np.zeros((packets[-1].timestamp - base) * step + codec.sample_rate_hz // 50)
        for packet in packets:
            at = (packet.timestamp - base) * step
            sound[at : at + len(packet.samples)] = packet.samples[: len(sound) - at]
        return sound


@dataclass(slots=True)
class Rig:
    """Everything around one page.

    Attributes:
        stand_in: the far end's remote control.
        page: the page with the bundle.
        wire: packets of the connected leg.
        events: what the bundle told, oldest first.
    """

    stand_in: StandIn
    page: PageTarget
    wire: Wire
    events: list[dict[str, Any]]

    def of_type(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]

    def forget(self) -> None:
        """Forget the events so far, but for the page's state."""
        self.events[:] = self.of_type("page.state")[-1:]

    async def until(self, seen: Callable[[], object], timeout_s: float = 10) -> None:
        """Wait until *seen* is true.

        Raises:
            AssertionError: it was not in time; the message has the events.
        """
        deadline = time.monotonic() + timeout_s
        while not seen():
            assert time.monotonic() < deadline, f"not within {timeout_s} s; events: {self.events}"
            await asyncio.sleep(0.02)

    async def until_page(self, state: str, timeout_s: float = 10) -> None:
        await self.until(lambda: [event["state"] for event in self.of_type("page.state")][-1:] == [state], timeout_s)

    async def until_state(self, state: int, timeout_s: float = 10) -> None:
        await self.until(lambda: any(event["state"] == state for event in self.of_type("call.state")), timeout_s)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the process's signals are not this server's business


@contextlib.asynccontextmanager
async def serve(app: Starlette) -> AsyncIterator[str]:
    """Serve *app* on a free loopback port; gives the base URL."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    server = _Server(config)
    # Not of a TaskGroup: that would cancel it when the block fails, and leave its socket open.
    serving = asyncio.create_task(server.serve())
    try:
        await asyncio.wait_for(server.listening.wait(), 10)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


@contextlib.asynccontextmanager
async def attached(browser: ChromiumProcess, url: str) -> AsyncIterator[tuple[PageTarget, Wire, list[dict[str, Any]]]]:
    """Open *url* with the bundle; gives the page, a wire whose leg is not connected yet, and the events."""
    directory = default_directory()
    await asyncio.to_thread(build, directory)
    events: list[dict[str, Any]] = []
    async with contextlib.AsyncExitStack() as stack:
        assets = await fetch_assets(await stack.enter_async_context(serve(create_app(directory))))
        cdp = await stack.enter_async_context(connect_cdp(parse_browser_url(browser.http_url), BrowserSettings()))
        page = await open_page(cdp, url=url, assets=assets, helper=None)
        stack.push_async_callback(page.close)
        page.subscribe(events.append, lambda: None, lambda why: None)
        wire = Wire(new_leg())
        stack.push_async_callback(wire.close)
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(wire.run())
            try:
                yield page, wire, events
            finally:
                sending.cancel()
        with contextlib.suppress(Exception):
            await cdp.send("Target.closeTarget", {"targetId": page.target_id}, timeout_s=5)


def new_leg() -> WebRtcLeg:
    """A leg that reaches a Chromium on this machine."""
    return WebRtcLeg(addresses=[*local_addresses(), "127.0.0.1"])


async def connect(page: PageTarget, wire: Wire) -> None:
    """Connect the wire's leg to the page."""
    wire.leg.set_receiver(wire.take)
    await wire.leg.accept(await page.connect_media(await wire.leg.offer()))


@contextlib.asynccontextmanager
async def rig(stand_in: StandIn, browser: ChromiumProcess) -> AsyncIterator[Rig]:
    """Open the stand-in with the bundle, wait for READY, and connect a leg to it."""
    async with attached(browser, stand_in.url) as (page, wire, events):
        found = Rig(stand_in, page, wire, events)
        await found.until_page("READY", 30)
        await connect(page, wire)
        yield found
