"""A whole gateway without a page, as those who run it see it: metrics, readiness, over real HTTP."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.accounts.service import open_accounts
from gateway.config import Settings
from gateway.domain.bridge_config import BridgeConfig
from gateway.domain.states import PageState
from gateway.service import StopRequests, serve
from gateway.store.store import Store
from tests.support.metric_docs import metrics
from tests.support.ports import LOOPBACK, free_ports

pytestmark = pytest.mark.integration


@asynccontextmanager
async def gateway(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    """A gateway with one account, whose Chrome nobody has started."""
    store = await Store.open(settings)
    row, key = await store.keys.create("acme")
    config = BridgeConfig(
        enabled=True, sip_listen_port=free_ports(), chrome_remote_url=f"ws://{LOOPBACK}:{free_ports()}"
    )
    await store.configs.save(row.account.id, config)
    await store.close()
    stop = StopRequests()
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(settings, open_accounts, with_wasm=False, on_ready=ready.set_result, stop=stop))
        try:
            base = f"http://{LOOPBACK}:{await asyncio.wait_for(ready, 30)}"
            headers = {"Authorization": f"Bearer {key}"}
            async with httpx2.AsyncClient(base_url=base, headers=headers, timeout=20) as client:
                yield client
        finally:
            stop.now.set()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        state_dir=tmp_path / "state", api_host=LOOPBACK, api_port=0, sip_host=LOOPBACK, database_timeout_s=0.1
    )  # fmt: skip


async def until(seen: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(20):
        while not (found := await seen()):  # noqa: ASYNC110  what another process does
            await asyncio.sleep(0.02)
    return found


def media_workers() -> list[int]:
    """The pids of this process's media workers."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [int(one) for one in children if b"gateway.worker" in Path(f"/proc/{one}/cmdline").read_bytes()]


async def test_what_is_scraped_is_what_is_documented_and_names_nobody(settings: Settings) -> None:
    async with gateway(settings) as client:

        async def figures() -> str:
            text = (await client.get("/metrics", headers={"Authorization": ""})).text
            return text if "ponte_media_cpu_seconds_total" in text else ""  # a worker's come once a second

        text = await until(figures)
        kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
        found = {name: kind for name, kind in kinds.items() if not name.endswith("_created")}
        assert found == {one.name: one.kind for one in metrics()}
        states = dict(re.findall(r'^ponte_page_state\{state="(\w+)"\} (\S+)$', text, re.MULTILINE))
        assert set(states) == {state.value for state in PageState}
        assert sum(float(count) for count in states.values()) == 1  # one account, wherever its page is
        assert re.search(r"^ponte_process_open_fds [1-9]", text, re.MULTILINE)


async def test_each_dependency_that_is_unfit_is_named_and_comes_back(settings: Settings) -> None:
    async with gateway(settings) as client:

        async def checks() -> tuple[int, dict[str, Any]]:
            answer = await client.get("/readyz")
            return answer.status_code, answer.json()["checks"]

        async def unfit(name: str) -> Any:
            status, found = await checks()
            return (status, found[name]["detail"]) if not found[name]["ok"] else None

        async def fit() -> bool:
            return (await checks())[0] == 200

        status, found = await checks()
        assert (status, set(found)) == (200, {"database", "records", "media"})

        [worker] = media_workers()
        os.kill(worker, signal.SIGKILL)
        assert (await until(lambda: unfit("media")))[0] == 503
        await until(fit)
