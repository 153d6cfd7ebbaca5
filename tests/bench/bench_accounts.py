"""What idle accounts cost, and how soon one is READY: `make bench-accounts` writes build/accounts.json.

One `ponte serve`, and for each account a node helper with its Chrome and a stand-in of its own, logged in. Accounts are
added one after the other. Only what Ponte needs is counted, not the stand-ins.

- `memory_N`: PSS (shared pages counted once) of everything that serves N idle accounts: gateway, wasm server, node
  helpers, and each Chrome with all its processes. `own_memory_N`: what of it is no file's, so that it depends on no
  other program of the same kind.
- `cpu_N`: processor time of the same processes over some time in which nothing happens, in % of one core.
- `attach_to_ready`: from the first word of the gateway that it attaches to a Chrome without the page until the page is
  READY, by the time stamps of its events; loading the page is in it. `attach_again`: to a page that is open already.
- `page_alone_*`: one Chrome with the same flags and the same page, and no gateway at it: what remains when everything
  that is ours is taken away.

The stand-in's page does far less than WhatsApp Web, whose own memory and work come on top.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shlex
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx2

from tests.bench.results import BUILD, Section
from tests.demo.farend import FarEnd, far_end
from tests.support.chromium import CHROMIUM
from tests.support.ports import LOOPBACK, free_ports
from tests.support.process_tree import by_role, costs, cpu_by_role
from tests.support.processes import Process, caller_environment, running

ROOT: Final = Path(__file__).resolve().parents[2]
COUNTS: Final = (1, 3, 5)
READY_S: Final = 60.0
SETTLE_S: Final = 20.0  # Chrome goes on with its start for that long
MIB: Final = 2**20
_FLAGS: Final = ("--no-sandbox",)  # benches are run as root in containers


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    Attributes:
        counts: of accounts, growing.
        idle_s: for how long processor time is counted.
        settle_s: between the last account's start and that.
        flags: of Chrome, beside those that it needs here.
    """

    counts: tuple[int, ...] = COUNTS
    idle_s: float = 60.0
    settle_s: float = SETTLE_S
    flags: tuple[str, ...] = ()


QUICK: Final = Plan((1, 2), idle_s=10.0, settle_s=5.0)


@dataclass(slots=True)
class Figures:
    """What was measured.

    Attributes:
        memory: bytes by role, for each count of accounts; 0: the page alone.
        own: bytes of it that are no file's.
        cpu: seconds of processor time a second by role, likewise.
        attach_s: one of each account.
        again_s: likewise.
    """

    memory: dict[int, dict[str, int]] = field(default_factory=dict)
    own: dict[int, int] = field(default_factory=dict)
    cpu: dict[int, dict[str, float]] = field(default_factory=dict)
    attach_s: list[float] = field(default_factory=list)
    again_s: list[float] = field(default_factory=list)

    async def look(self, count: int, processes: Sequence[Process], plan: Plan) -> None:
        """Measure *processes* and all that they started, while nothing happens."""
        await asyncio.sleep(plan.settle_s)
        roots = [process.pid for process in processes]
        before = costs(roots)
        await asyncio.sleep(plan.idle_s)
        after = costs(roots)
        self.memory[count] = by_role(after.values())
        self.own[count] = sum(by_role(after.values(), own=True).values())
        self.cpu[count] = {role: used / plan.idle_s for role, used in cpu_by_role(before, after).items()}

    def add_to(self, section: Section) -> None:
        """Give the figures to *section*."""
        for count in sorted(self.memory):
            key = str(count) if count else "page_alone"
            what = f"{count} idle accounts" if count else "one page in a Chrome with nobody at it"
            memory, cpu = self.memory[count], self.cpu[count]
            section.add(f"memory_{key}", f"Memory of {what}", [sum(memory.values()) / MIB], "MiB")
            section.add(f"own_memory_{key}", f"Memory of {what} without files", [self.own[count] / MIB], "MiB")
            section.add(f"cpu_{key}", f"Processor time of {what}", [100 * sum(cpu.values())], "% of a core")
            section.conditions[f"memory_{key}_mib"] = {role: round(one / MIB, 1) for role, one in memory.items()}
            section.conditions[f"cpu_{key}_percent"] = {role: round(100 * one, 2) for role, one in cpu.items()}
        counts = sorted(count for count in self.memory if count)
        if len(counts) > 1:
            first, last = counts[0], counts[-1]
            totals: dict[str, tuple[str, float, dict[int, float]]] = {
                "memory": ("MiB", 1 / MIB, {n: sum(one.values()) for n, one in self.memory.items()}),
                "own_memory": ("MiB", 1 / MIB, {n: float(one) for n, one in self.own.items()}),
                "cpu": ("% of a core", 100, {n: sum(one.values()) for n, one in self.cpu.items()}),
            }
            for name, (unit, scale, of) in totals.items():
                more = scale * (of[last] - of[first]) / (last - first)
                section.add(f"{name}_each_more", f"The same for each further idle account: {name}", [more], unit)
        if self.attach_s:
            section.add("attach_to_ready", "Attach to READY, a new page", self.attach_s, "s")
            section.add("attach_again", "Attach to READY, a page that is open", self.again_s, "s")


class Account:
    """An account of the gateway.

    Args:
        api: the gateway's API.
        key: the account's.
        body: its configuration.
    """

    def __init__(self, api: httpx2.AsyncClient, key: str, body: dict[str, Any]) -> None:
        self._api, self._body = api, body
        self._headers = {"Authorization": f"Bearer {key}", "Accept": "application/json"}

    async def attach(self) -> float:
        """Enable it; give the time from attaching to READY, once it is."""
        seen = (await self._ask("GET", "/events?after=evt_0&limit=100"))["events"]
        await self._ask("POST", "/call/bridge/config", json={**self._body, "enabled": True})
        await self._until("READY", "connected")
        last = seen[-1]["id"] if seen else "evt_0"
        found = (await self._ask("GET", f"/events?after={last}&limit=100"))["events"]
        times = {
            event["data"]["state"]: datetime.fromisoformat(event["timestamp"]).timestamp()
            for event in reversed(found)  # so that the first of each stays
            if event["type"] == "page.state"
        }
        return times["READY"] - times["ATTACHING"]

    async def leave(self) -> None:
        """Disable it: the gateway lets go of the page, which stays open."""
        await self._ask("POST", "/call/bridge/config", json={"enabled": False})
        await self._until("disabled", "disabled")

    async def _until(self, page: str, media: str) -> None:
        deadline_s = time.monotonic() + READY_S
        while True:
            state = (await self._ask("GET", "/call/bridge/status"))["state"]
            if (state["page"]["state"], state["media"]["state"]) == (page, media):
                return
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"not {page}: {state}")
            await asyncio.sleep(0.25)

    async def _ask(self, method: str, path: str, **arguments: Any) -> Any:
        answer = await self._api.request(method, path, headers=self._headers, **arguments)
        if answer.status_code != 200:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json()


async def _command(env: dict[str, str], *words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway.cli", *words, stdout=asyncio.subprocess.PIPE, env=env, cwd=ROOT
    )
    try:
        async with asyncio.timeout(60):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise RuntimeError(f"ponte {' '.join(words)}: exit status {process.returncode}")
    return said.decode().strip()


@contextlib.asynccontextmanager
async def _gateway(folder: Path, wasm_port: int) -> AsyncIterator[tuple[Process, httpx2.AsyncClient, str]]:
    """Run a gateway; give its process, its API and an admin key."""
    first = free_ports(43)
    env = {
        "PONTE_API_HOST": LOOPBACK,
        "PONTE_API_PORT": str(first),
        "PONTE_SIP_HOST": LOOPBACK,
        "PONTE_WASM_HOST": LOOPBACK,
        "PONTE_WASM_PORT": str(wasm_port),
        "PONTE_RTP_PORT_MIN": str(first + 2),
        "PONTE_RTP_PORT_MAX": str(first + 41),
        "PONTE_STATE_DIR": str(folder / "state"),
        "PONTE_LOG_FORMAT": "json",
    }
    argv = [sys.executable, "-m", "gateway.cli", "serve"]
    key = await _command({**caller_environment(), **env}, "admin-keys", "create")
    async with running("gateway", argv, log=folder / "gateway.log", env=env, cwd=ROOT, end_timeout_s=60) as process:
        await process.wait_line(lambda line: '"ready"' in line and line.startswith("{"), what="ready", timeout_s=60)
        async with httpx2.AsyncClient(base_url=f"http://{LOOPBACK}:{first}", timeout=30) as api:
            yield process, api, key


@contextlib.asynccontextmanager
async def _helper(folder: Path, stand_in: FarEnd, plan: Plan, url: str = "") -> AsyncIterator[tuple[Process, int]]:
    """Run a helper and its Chrome; give its process and its port."""
    await asyncio.to_thread(folder.mkdir)
    env = {
        "PONTE_HELPER_PORT": "0",
        "PONTE_HELPER_CDP_PORT": "0",
        "PONTE_HELPER_PROFILE": str(folder / "profile"),
        "PONTE_HELPER_CHROME": CHROMIUM,
        "PONTE_HELPER_URL": url,
        "PONTE_HELPER_FLAGS": shlex.join([*_FLAGS, *stand_in.chromium_flags, *plan.flags]),
    }
    argv = ["node", str(ROOT / "node_helper/src/main.js")]
    async with running("helper", argv, log=folder / "helper.log", env=env, cwd=ROOT, end_timeout_s=30) as process:
        ready = await process.wait_line(lambda line: '"ready"' in line, what="ready line", timeout_s=60)
        await process.wait_for(lambda: "chrome.running" in process.tail(), what="running Chrome", timeout_s=60)
        yield process, json.loads(ready)["port"]


@contextlib.asynccontextmanager
async def _stand_in(folder: Path) -> AsyncIterator[FarEnd]:
    await asyncio.to_thread(folder.mkdir)
    async with far_end(folder, root=ROOT) as found:
        yield found


async def measure(plan: Plan) -> Figures:
    """Measure it all."""
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="ponte-bench-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        async with _stand_in(folder / "far") as far, _helper(folder / "alone", far, plan, far.page_url) as alone:
            await figures.look(0, [alone[0]], plan)
        wasm_port = free_ports()
        async with contextlib.AsyncExitStack() as stack:
            process, api, admin = await stack.enter_async_context(_gateway(folder, wasm_port))
            counted = [process]
            for number in range(1, max(plan.counts) + 1):
                far = await stack.enter_async_context(_stand_in(folder / f"far-{number}"))
                helper, port = await stack.enter_async_context(_helper(folder / f"chrome-{number}", far, plan))
                counted.append(helper)
                body = {
                    "sipListenPort": free_ports(),
                    "sipListenUser": "pbx",
                    "sipListenSecret": "geheim",
                    "wasmServerPort": wasm_port,
                    "nodeRemoteHelper": f"http://{LOOPBACK}:{port}",
                }
                headers = {"Authorization": f"Bearer {admin}"}
                made = await api.post("/accounts", json={"name": f"account-{number}"}, headers=headers)
                account = Account(api, made.json()["key"]["key"], body)
                figures.attach_s.append(await account.attach())
                await account.leave()
                figures.again_s.append(await account.attach())
                if number in plan.counts:
                    await figures.look(number, counted, plan)
    return figures


def run(section: Section, plan: Plan) -> None:
    """Measure into *section*."""
    section.conditions |= {"idle_s": plan.idle_s, "chrome_flags": list(plan.flags)}
    asyncio.run(measure(plan)).add_to(section)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.bench_accounts", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="one and two accounts, and a short look at each")
    parser.add_argument("--flags", default="", help="further flags of Chrome, in one argument")
    parser.add_argument("--out", type=Path, default=BUILD / "accounts.json", help="where the figures go")
    options = parser.parse_args(arguments)
    plan = replace(QUICK if options.quick else Plan(), flags=tuple(shlex.split(options.flags)))
    with Section.open("accounts", quick=options.quick) as section:
        run(section, plan)
    found = json.loads((BUILD / "bench.json").read_text())["accounts"]
    options.out.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
    print("\n".join(section.lines()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
