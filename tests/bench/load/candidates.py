"""What joins phone and page in the media benches: Ponte, Debian's rtpengine, Debian's Janus, and nothing at all."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, Protocol

from gateway.media.rtpengine.client import NgClient
from gateway.protocol.ng.bencode import Value
from gateway.webrtc.seam import local_addresses
from tests.bench.load.janus import Janus
from tests.bench.load.lines import Asked, asked
from tests.bench.load.phones import Phones, open_phones
from tests.bench.load.sdp import HOST
from tests.support.ports import free_ports
from tests.support.processes import running

_READY_S: Final = 15.0


class Candidate(Protocol):
    """A program that runs and joins calls.

    Attributes:
        pid: of the process whose CPU time counts; None: there is none.
    """

    pid: int | None

    async def join(self, load: Asked, call: int) -> None:
        """Set up a call between the generator's phone and its page."""

    async def settle(self) -> None:
        """Return once all calls are connected on this side."""

    async def told(self) -> dict[str, Any]:
        """Return what the candidate counted by itself."""


class Kind(Protocol):
    """A candidate that can be started."""

    name: str

    def missing(self) -> str:
        """Return why it cannot be started; empty where it can."""

    def started(self, folder: Path, calls: int) -> AbstractAsyncContextManager[Candidate]:
        """Run it for the length of the block; *folder* is its own."""


class _Silent:
    """What most candidates have nothing to say to."""

    async def settle(self) -> None:
        """See `Candidate`."""

    async def told(self) -> dict[str, Any]:
        """See `Candidate`."""
        return {}


class Direct:
    """Nothing between the two ends: what the generator and the kernel need by themselves."""

    name = "direct"

    def missing(self) -> str:
        """See `Kind`."""
        return ""

    @contextlib.asynccontextmanager
    async def started(self, folder: Path, calls: int) -> AsyncIterator[Candidate]:
        """See `Kind`."""
        yield _Direct()


class _Direct(_Silent):
    pid: int | None = None

    async def join(self, load: Asked, call: int) -> None:
        await load.ask("direct", call=call)


class Ponte:
    """Ponte's built-in media plane.

    Args:
        name: of the candidate.
        arguments: of `tests.bench.load.ponte`.
    """

    def __init__(self, name: str = "ponte", *arguments: str) -> None:
        self.name = name
        self._arguments = arguments

    def missing(self) -> str:
        """See `Kind`."""
        return ""

    @contextlib.asynccontextmanager
    async def started(self, folder: Path, calls: int) -> AsyncIterator[_Ponte]:
        """See `Kind`."""
        async with asked("tests.bench.load.ponte", *self._arguments) as host:
            yield _Ponte(host, (await host.ask("pid"))["pid"])


class _Ponte:
    def __init__(self, host: Asked, pid: int) -> None:
        self.pid: int | None = pid
        self.host = host

    async def join(self, load: Asked, call: int) -> None:
        offers = await self.host.ask("open", call=call)
        phone = (await load.ask("phone", call=call))["sdp"]
        await load.ask("phone_target", call=call, sdp=offers["phone"])
        page = (await load.ask("page_answer", call=call, sdp=offers["page"]))["sdp"]
        await self.host.ask("accept", call=call, phone=phone, page=page)

    async def settle(self) -> None:
        await self.host.ask("connected")

    async def told(self) -> dict[str, Any]:
        return await self.host.ask("stats")


class Rtpengine:
    """Debian's rtpengine, without its kernel module."""

    name = "rtpengine"

    def missing(self) -> str:
        """See `Kind`."""
        return "" if _program("rtpengine") else "rtpengine is not installed (Debian package rtpengine-daemon)"

    @contextlib.asynccontextmanager
    async def started(self, folder: Path, calls: int) -> AsyncIterator[Candidate]:
        """See `Kind`."""
        control = free_ports()
        first = free_ports(8 * calls + 8)
        argv = (
            _program("rtpengine"), "--config-file=none", "--foreground", "--log-stderr", "--log-level=4", "--table=-1",
            f"--interface={HOST}", f"--listen-ng={HOST}:{control}", f"--port-min={first}",
            f"--port-max={first + 8 * calls + 7}",
        )  # fmt: skip
        async with running("rtpengine", argv, log=folder / "rtpengine.log", cwd=folder) as process:
            client = NgClient(HOST, control)
            async with client.running():
                await process.wait_for(lambda: client.up, what="an answer", timeout_s=_READY_S)
                yield _Rtpengine(client, process.pid)


class _Rtpengine(_Silent):
    def __init__(self, client: NgClient, pid: int) -> None:
        self.pid: int | None = pid
        self._client = client

    async def join(self, load: Asked, call: int) -> None:
        phone = (await load.ask("phone", call=call))["sdp"]
        tags: dict[str, Value] = {"call_id": f"bench-{call}", "from_tag": "phone"}
        offer = await self._client.request(
            "offer", **tags, sdp=phone, ICE="force", transport_protocol="UDP/TLS/RTP/SAVPF",
            rtcp_mux=["offer", "require"], flags=["generate-mid"],
        )  # fmt: skip
        page = (await load.ask("page_answer", call=call, sdp=str(offer["sdp"])))["sdp"]
        answer = await self._client.request(
            "answer", **tags, to_tag="page", sdp=page, ICE="remove", transport_protocol="RTP/AVP", rtcp_mux=["demux"]
        )
        await load.ask("phone_target", call=call, sdp=str(answer["sdp"]))


class JanusSip:
    """Debian's Janus with its SIP plugin."""

    name = "janus"

    def missing(self) -> str:
        """See `Kind`."""
        if not _program("janus"):
            return "janus is not installed (Debian package janus)"
        return "" if _page_host() else "janus takes no calls on loopback, and this machine has no other IPv4 address"

    @contextlib.asynccontextmanager
    async def started(self, folder: Path, calls: int) -> AsyncIterator[Candidate]:
        """See `Kind`."""
        phones = await open_phones()
        try:
            async with Janus.started(_program("janus"), folder, calls, _page_host()) as janus:
                yield _JanusSip(janus, phones)
        finally:
            phones.close()


class _JanusSip(_Silent):
    def __init__(self, janus: Janus, phones: Phones) -> None:
        self.pid: int | None = janus.pid
        self._janus = janus
        self._phones = phones

    async def join(self, load: Asked, call: int) -> None:
        user = f"phone{call}"
        called = self._phones.expect(user, (await load.ask("phone", call=call))["sdp"])
        page = (await load.ask("page_offer", call=call, host=_page_host()))["sdp"]
        answer = await self._janus.call(f"sip:{user}@{HOST}:{self._phones.port}", page)
        await load.ask("page_accept", call=call, sdp=answer)
        await load.ask("phone_target", call=call, sdp=await asyncio.wait_for(called, _READY_S))


def _page_host() -> str:
    """Return this machine's first IPv4 address that is not loopback; packets to it never leave the machine either."""
    return next((address for address in local_addresses() if ":" not in address), "")


def _program(name: str) -> str:
    return shutil.which(name, path="/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin") or ""
