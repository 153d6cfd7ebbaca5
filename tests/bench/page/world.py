"""One phone and one page of the stand-in in a call, over Ponte's media plane, in real Chromium."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from gateway.browser.assets import fetch_assets
from gateway.browser.cdp import CdpConnection, connect_cdp
from gateway.browser.endpoint import parse_browser_url
from gateway.browser.opening import open_page
from gateway.browser.page import PageTarget
from gateway.browser.settings import BrowserSettings
from gateway.domain.ids import CallId
from gateway.media.page_side import PagePort
from gateway.media.router import PacketRouter
from gateway.webrtc.leg import WebRtcLeg
from gateway.webrtc.seam import local_addresses
from tests.bench.page.figures import Kept, mulaw
from tests.integration.wasm_server.rig import serve
from tests.standin.server import StandIn
from tests.support.audio import Samples
from tests.support.chromium import ChromiumProcess, chromium
from wasm_server.app import create_app
from wasm_server.build import build, default_directory

HOST: Final = "127.0.0.1"
CALLER: Final = "+5511987654321"
ROOT: Final = Path(__file__).resolve().parents[3]
ACTIVE: Final = 6


@dataclass(slots=True)
class PhoneProcess:
    """`tests.bench.page.phone` in a process of its own.

    Attributes:
        port: where its audio goes.
    """

    port: int
    folder: Path
    _process: asyncio.subprocess.Process

    async def talk(
        self,
        to: tuple[str, int],
        said: Samples,
        seconds: float,
        *,
        ptime_ms: int = 20,
        ppm: float = 0,
        since_s: float | None = None,
    ) -> Kept:
        """Say *said* (8 kHz) for *seconds* and keep what comes meanwhile, or has come since *since_s* (wall clock).

        Args:
            to: where to.
            said: what; silence follows it.
            seconds: how long.
            ptime_ms: of its packets.
            ppm: by how much its clock is fast.
            since_s: None: from now on.
        """
        since_s = time.time() if since_s is None else since_s
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        np.save(self.folder / "said.npy", mulaw(said))
        order = {
            "to": to, "said": str(self.folder / "said.npy"), "kept": str(self.folder / "kept.npz"),
            "ptime_ms": ptime_ms, "seconds": seconds, "ppm": ppm,
        }  # fmt: skip
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        async with asyncio.timeout(seconds + 20):
            await self._process.stdout.readline()
        return await asyncio.to_thread(Kept.load, self.folder / "kept.npz", since_s)


@contextlib.asynccontextmanager
async def phone() -> AsyncIterator[PhoneProcess]:
    """Run a phone for the length of the block."""
    with tempfile.TemporaryDirectory(prefix="ponte-phone-") as folder:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.bench.page.phone", cwd=ROOT,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 20))
            yield PhoneProcess(ready["port"], Path(folder), process)
        finally:
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), 5)
            except TimeoutError:
                process.kill()
                await process.wait()


class Line(Protocol):
    """A page that can be called, and what stands between it and a phone."""

    @property
    def stand_in(self) -> StandIn:
        """The far end."""

    @property
    def browser(self) -> ChromiumProcess:
        """The page's Chromium."""

    async def call(self, phone_port: int, *, ptime_ms: int = 20) -> tuple[str, int]:
        """Have the page in a call with the phone; return where the phone sends to."""

    async def hang_up(self) -> None:
        """End it, and wait for the end."""


@dataclass(slots=True)
class Bridged:
    """The page with the bundle, a leg to it, and Ponte's packet router."""

    stand_in: StandIn
    browser: ChromiumProcess
    page: PageTarget
    side: PagePort
    router: PacketRouter
    events: list[dict[str, Any]]
    answered_s: float = 0.0  # wall clock, of the last call: the phone's 200, as it were
    calls: int = 0

    async def call(self, phone_port: int, *, ptime_ms: int = 20) -> tuple[str, int]:
        """See `Line`."""
        self.calls += 1
        del self.events[:]
        call_id = await self.stand_in.ring(CALLER)
        await until(lambda: any(one["type"] == "call.incoming" for one in self.events), "an incoming call")
        offer = (
            f"v=0\r\no=- 1 1 IN IP4 {HOST}\r\ns=-\r\nc=IN IP4 {HOST}\r\nt=0 0\r\n"
            f"m=audio {phone_port} RTP/AVP 0\r\na=ptime:{ptime_ms}\r\n"
        )
        answer, negotiated = await self.router.answer_offer(self._call_id, offer, local_address=HOST)
        self.answered_s = time.time()
        await self.page.call("startMedia", {"codec": negotiated.codec})
        await self.page.call("accept", call_id)
        await until(lambda: any(one.get("state") == ACTIVE for one in self.events), "an active call")
        self.router.connect(self._call_id, self.side)
        found = re.search(r"m=audio (\d+)", answer)
        assert found is not None
        return HOST, int(found[1])

    @property
    def _call_id(self) -> CallId:
        return CallId(f"bench-{self.calls}")

    async def hang_up(self) -> None:
        """See `Line`."""
        await self.stand_in.post("/hangup")
        await self.stand_in.wait_for(lambda state: state["call"] is None and state["page"]["call"] is None)
        await self.page.call("stopMedia")
        await self.router.delete(self._call_id)

    async def figures(self) -> dict[str, Any]:
        """What the page says of its audio."""
        found: dict[str, Any] = await self.page.call("stats")
        return found


@contextlib.asynccontextmanager
async def bridged(*flags: str) -> AsyncIterator[Bridged]:
    """A page with the bundle, READY, its leg connected; *flags* are Chromium's."""
    directory = default_directory()
    await asyncio.to_thread(build, directory)
    async with contextlib.AsyncExitStack() as stack:
        stand_in = await stack.enter_async_context(StandIn())
        await stand_in.post("/settings", message_sounds=False)
        browser = await stack.enter_async_context(chromium([*stand_in.flags, *flags]))
        assets = await fetch_assets(await stack.enter_async_context(serve(create_app(directory))))
        cdp = await stack.enter_async_context(connect_cdp(parse_browser_url(browser.http_url), BrowserSettings()))
        page = await open_page(cdp, url=stand_in.url, assets=assets, helper=None)
        stack.push_async_callback(page.close)
        events: list[dict[str, Any]] = []
        page.subscribe(events.append, lambda: None, lambda why: None)
        await until(lambda: any(one.get("state") == "READY" for one in events), "a READY page", 30)
        router = PacketRouter(page_leg=WebRtcLeg)
        stack.push_async_callback(router.close)
        side = router.page_side()
        leg = side.new_leg(addresses=[*local_addresses(), HOST])
        stack.push_async_callback(leg.close)
        await leg.accept(await page.connect_media(await leg.offer()))
        side.use(leg)
        yield Bridged(stand_in, browser, page, side, router, events)


@dataclass(slots=True)
class Bare:
    """The page as it is: it takes its calls by itself, with the microphone and speaker that Chromium has."""

    stand_in: StandIn
    browser: ChromiumProcess
    cdp: CdpConnection
    session: str

    async def accept(self) -> None:
        """Take a call."""
        await self.stand_in.ring(CALLER)
        await self.stand_in.wait_for(lambda state: bool(state["page"]["call"]))
        await self.evaluate(
            "importNamespace('WAWebVoipStackInterface').getVoipStackInterface().then((s) => s.acceptCall(true, false))"
        )
        await self.stand_in.wait_for(lambda state: bool(state["call"]) and state["call"]["state"] == "active", 20)

    async def evaluate(self, expression: str) -> Any:
        """Evaluate with a user's gesture."""
        answer = await self.cdp.send(
            "Runtime.evaluate",
            {"expression": expression, "awaitPromise": True, "returnByValue": True, "userGesture": True},
            session_id=self.session, timeout_s=20,
        )  # fmt: skip
        if "exceptionDetails" in answer:
            raise RuntimeError(f"the page could not: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    async def hang_up(self) -> None:
        """End the call."""
        await self.stand_in.post("/hangup")
        await self.stand_in.wait_for(lambda state: state["call"] is None and state["page"]["call"] is None)


@contextlib.asynccontextmanager
async def bare(*flags: str) -> AsyncIterator[Bare]:
    """The stand-in without the bundle; *flags* give Chromium its audio devices."""
    async with contextlib.AsyncExitStack() as stack:
        stand_in = await stack.enter_async_context(StandIn())
        await stand_in.post("/settings", message_sounds=False)
        browser = await stack.enter_async_context(
            chromium([*stand_in.flags, "--use-fake-ui-for-media-stream", *flags], stand_in.url)
        )
        cdp = await stack.enter_async_context(connect_cdp(parse_browser_url(browser.http_url), BrowserSettings()))
        targets = await cdp.send("Target.getTargets")
        target = next(one for one in targets["targetInfos"] if one["type"] == "page")
        attached = await cdp.send("Target.attachToTarget", {"targetId": target["targetId"], "flatten": True})
        await stand_in.wait_for(lambda state: bool(state["page"]["stack_ready"]), 30)
        yield Bare(stand_in, browser, cdp, attached["sessionId"])


def cpu_s(browser: ChromiumProcess) -> float:
    """CPU seconds that a Chromium has used so far, all its processes together, those that ended included."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(fields[1])
                # user, system, and the same of children that were waited for
                used[int(entry.name)] = sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")
    wanted = {browser.pid}
    while more := {pid for pid, parent in parents.items() if parent in wanted} - wanted:
        wanted |= more
    return sum(used.get(pid, 0.0) for pid in wanted)


async def until(seen: Callable[[], object], what: str, timeout_s: float = 20) -> None:
    """Wait for it.

    Raises:
        TimeoutError: it did not come.
    """
    deadline = time.monotonic() + timeout_s
    while not seen():
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what} within {timeout_s:g} s")
        await asyncio.sleep(0.02)
