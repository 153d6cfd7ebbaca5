"""A host of its own on this machine, behind a router that can be told to lose everything: a network that is cut.

Host and router are network namespaces without names: each lives as long as the process that holds it, and so do the
interfaces and routes between them. A test that is killed leaves nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.processes import Process, running

_TOOLS: Final = ("ip", "nsenter", "unshare")
_FORWARDING: Final = "/proc/sys/net/ipv4/ip_forward"


@dataclass(frozen=True, slots=True)
class FarHost:
    """A host that is reached over a router.

    Attributes:
        address: of the host.
    """

    address: str
    _host: Process
    _router: Process

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to put before a command to run it there; it keeps its pid, its files and everything but the network."""
        return _inside(self._host)

    async def cut(self) -> None:
        """Lose every packet from now on, without a word to either side."""
        await _forward(self._router, on=False)

    async def mend(self) -> None:
        """Pass packets on again."""
        await _forward(self._router, on=True)


def may_have_far_host() -> bool:
    """Whether this process may make network namespaces, and has the tools."""
    return os.geteuid() == 0 and all(map(shutil.which, _TOOLS))


@contextlib.asynccontextmanager
async def far_host(folder: Path) -> AsyncIterator[FarHost]:
    """Have a host with a router before it for the length of the block.

    Args:
        folder: for logs.

    Raises:
        ProcessFailed: it is not allowed here.
        OSError: the network could not be made.
    """
    hold = ["unshare", "--net", "sleep", "infinity"]
    async with (
        running("router", hold, log=folder / "router.log") as router,
        running("far host", hold, log=folder / "far_host.log") as host,
    ):
        for process in (router, host):
            await process.wait_for(lambda process=process: _is_apart(process), what="namespace", timeout_s=10)  # type: ignore[misc]
        net = f"10.213.{random.randrange(256)}"
        link, pids = f"pt{router.pid}", (str(router.pid), str(host.pid))
        near, gate, inner, far = (f"{net}.{last}" for last in (1, 2, 5, 6))
        # `here` is the router's interface towards us, `there` the one towards the host.
        for command in (
            ("ip", "link", "add", link, "type", "veth", "peer", "name", "here", "netns", pids[0]),
            (*_inside(router), "ip", "link", "add", "there", "type", "veth", "peer", "name", "out", "netns", pids[1]),
            ("ip", "address", "add", f"{near}/30", "dev", link),
            ("ip", "link", "set", link, "up"),
            (*_inside(router), "ip", "address", "add", f"{gate}/30", "dev", "here"),
            (*_inside(router), "ip", "address", "add", f"{inner}/30", "dev", "there"),
            (*_inside(router), "ip", "link", "set", "here", "up"),
            (*_inside(router), "ip", "link", "set", "there", "up"),
            (*_inside(host), "ip", "link", "set", "lo", "up"),
            (*_inside(host), "ip", "address", "add", f"{far}/30", "dev", "out"),
            (*_inside(host), "ip", "link", "set", "out", "up"),
            (*_inside(host), "ip", "route", "add", "default", "via", inner),
            ("ip", "route", "add", f"{net}.4/30", "via", gate),
        ):
            await _run(command)
        found = FarHost(far, host, router)
        await found.mend()
        yield found


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface of this machine that can go, as one of a VPN or a container does.

    Attributes:
        address: of this machine on it.
    """

    address: str
    _link: str

    async def remove(self) -> None:
        """Take it away, with its address."""
        await _run(("ip", "link", "delete", self._link))


@contextlib.asynccontextmanager
async def interface(folder: Path) -> AsyncIterator[Interface]:
    """Have one more interface for the length of the block.

    Args:
        folder: for the log.

    Raises:
        ProcessFailed: it is not allowed here.
        OSError: it could not be made.
    """
    async with running("beyond", ["unshare", "--net", "sleep", "infinity"], log=folder / "beyond.log") as beyond:
        await beyond.wait_for(lambda: _is_apart(beyond), what="namespace", timeout_s=10)
        found = Interface(f"10.214.{random.randrange(256)}.1", f"pi{beyond.pid}")
        for command in (
            ("ip", "link", "add", found._link, "type", "veth", "peer", "name", "here", "netns", str(beyond.pid)),
            ("ip", "address", "add", f"{found.address}/30", "dev", found._link),
            ("ip", "link", "set", found._link, "up"),
            (*_inside(beyond), "ip", "link", "set", "here", "up"),
        ):
            await _run(command)
        yield found


def _inside(process: Process) -> tuple[str, ...]:
    return ("nsenter", f"--net=/proc/{process.pid}/ns/net", "--")


def _is_apart(process: Process) -> bool:
    try:
        return os.readlink(f"/proc/{process.pid}/ns/net") != os.readlink("/proc/self/ns/net")
    except FileNotFoundError:
        return False


async def _forward(router: Process, *, on: bool) -> None:
    await _run((*_inside(router), "/bin/sh", "-c", f"echo {int(on)} > {_FORWARDING}"))


async def _run(command: Sequence[str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(10):
            _, words = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise OSError(f"{' '.join(command)}: {words.decode().strip()}")
