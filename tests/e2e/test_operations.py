"""A gateway in trouble, with everything real: a locked database, a full disk, a stop. Calls go on, nothing is lost.

Its state is on a small disk of its own: a tmpfs in the gateway's own mount namespace, which is gone when the gateway
is, however it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.sip import Caller, Failed
from tests.demo.call import CALLEE, CALLER
from tests.demo.world import PHONE, TRUNK, TRUNK_PASSWORD, Ports, World, WorldOptions, world
from tests.e2e.test_faults import OFFER, outcome, trunk_caller
from tests.support.hook_receiver import Receiver, receiving
from tests.support.otlp import collector

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(180),
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting a disk of its own needs root"),
]

NAME = "Maria-Aparecida"
DISK_BYTES = 4_000_000  # room for the database, and for little else
# Moves what is in a folder onto a disk of its own, and becomes the program.
ON_A_DISK = (
    "unshare", "--mount", "sh", "-euc",
    'disk="$1.disk"; mkdir "$disk"; mount -t tmpfs -o "size=$2,mode=700" tmpfs "$disk"; cp -a "$1/." "$disk"; '
    'mount --move "$disk" "$1"; shift 2; exec "$@"',
    "sh",
)  # fmt: skip
LOCKS = (
    "import sqlite3, sys; one = sqlite3.connect(sys.argv[1], isolation_level=None); one.execute('BEGIN EXCLUSIVE'); "
    "print('locked', flush=True); sys.stdin.read()"
)


class Gateway:
    """The gateway, its API and its disk."""

    def __init__(self, here: World, http: httpx2.AsyncClient) -> None:
        self.here, self.http = here, http

    @property
    def disk(self) -> Path:
        """Its folder, as it is seen from outside of its namespace."""
        return Path(f"/proc/{self.here.gateway.pid}/root{self.here.options.folder}/gateway")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Have another process lock the database, as somebody's shell does it; it ends with us."""
        # Inside: SQLite would read the link that /proc has to another namespace, and open our own folder's file.
        inside = ["nsenter", "--mount", "--target", str(self.here.gateway.pid), sys.executable, "-c", LOCKS]
        file = self.here.options.folder / "gateway" / "ponte.db"
        with subprocess.Popen([*inside, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as blocker:
            assert blocker.stdin is not None
            assert blocker.stdout is not None
            try:
                assert blocker.stdout.readline() == b"locked\n"
                yield
            finally:
                blocker.stdin.close()
                blocker.wait(20)

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Have no room on the disk."""
        ballast = self.disk / "ballast"
        try:
            with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))
            yield
        finally:
            ballast.unlink()

    async def get(self, path: str) -> Any:
        answer = await self.http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def cannot_write(self) -> str:
        """Change something until it is refused for want of the database; give the sentence."""
        for _ in range(50):  # what is in the log of writes already has room
            answer = await self.http.post("/call/bridge/config", json={"enabled": True})
            if answer.status_code != 200:
                assert (answer.status_code, answer.json()["code"]) == (500, "store_unavailable"), answer.text
                return str(answer.json()["detail"])
        raise AssertionError("everything was written")

    async def until_ready(self, *, unfit: str = "") -> dict[str, Any]:
        """Wait until it is ready, or until a dependency is unfit; give the checks."""
        async with asyncio.timeout(20):
            while True:
                answer = await self.http.get("/readyz")
                checks: dict[str, Any] = answer.json()["checks"]
                if unfit in checks and not checks[unfit]["ok"]:
                    assert answer.status_code == 503
                    return checks
                if not unfit and answer.status_code == 200:
                    return checks
                await asyncio.sleep(0.05)

    async def call(self) -> str:
        """The id of the call in progress, in which both sides hear each other."""
        async with asyncio.timeout(20):
            while True:
                calls = (await self.get("/call"))["calls"]
                if calls and calls[0]["state"] == "ACTIVE":
                    return str(calls[0]["id"])
                await asyncio.sleep(0.05)

    async def goes_on(self, call_id: str) -> None:
        """Wait until packets came both ways that had not come before."""
        first: dict[str, int] | None = None
        async with asyncio.timeout(20):
            while True:
                quality = (await self.get(f"/call/{call_id}"))["quality"]
                if quality is not None:
                    count = {name: quality[name]["packets"] for name in ("wa_to_sip", "sip_to_wa")}
                    first = first or count
                    if all(count[name] > first[name] + 20 for name in count):
                        return
                await asyncio.sleep(0.1)

    async def written(self, call_id: str) -> None:
        """Wait until the record of a call that is over can be read."""
        async with asyncio.timeout(20):
            while True:
                answer = await self.http.get(f"/calls/{call_id}")
                if answer.status_code == 200 and answer.json()["state"] == "ENDED":
                    assert answer.json()["ending"]["reason"] == "hangup"
                    return
                await asyncio.sleep(0.05)


async def incoming(here: World) -> int:
    mark = here.phone.mark()
    await here.far_end.ring(CALLER, name=NAME)
    await here.phone.wait_event("CALL_ESTABLISHED", since=mark, timeout_s=20)
    return mark


async def test_a_gateway_in_trouble_keeps_its_calls_its_records_and_everybodys_secrets(tmp_path: Path) -> None:
    hook = Receiver()
    async with collector() as traces, receiving(hook):
        options = WorldOptions(
            tmp_path, Ports.free(), with_helper=False, tap=False,
            gateway_prefix=(*ON_A_DISK, str(tmp_path / "gateway"), str(DISK_BYTES)),
            environment={
                "PONTE_DATABASE_TIMEOUT_S": "0.3", "PONTE_LOG_DROP_PII": "1", "PONTE_TRACES": "otlp",
                "PONTE_WEBHOOK_ALLOW_HOSTS": "127.0.0.0/8", "OTEL_EXPORTER_OTLP_ENDPOINT": traces.url,
                "OTEL_BSP_SCHEDULE_DELAY": "100",
            },
        )  # fmt: skip
        async with (
            world(options, print) as here,
            httpx2.AsyncClient(
                base_url=f"http://127.0.0.1:{options.ports.api}", headers={"Authorization": f"Bearer {here.key}"},
                timeout=20,
            ) as http,
        ):  # fmt: skip
            gateway = Gateway(here, http)
            await here.configure(await here.configuration())
            assert (await http.post("/webhooks", json={"url": hook.url, "events": ["call.ended"]})).status_code == 201
            await here.wait_ready(print)

            mark = await incoming(here)
            locked = await gateway.call()
            with gateway.locked():
                assert "locked" in await gateway.cannot_write()
                await gateway.goes_on(locked)
                await here.far_end.hang_up()
                await here.phone.wait_event("CALL_CLOSED", since=mark, timeout_s=10)
                checks = await gateway.until_ready(unfit="records")
                assert checks["database"]["ok"]
                assert "locked" in checks["records"]["detail"]
                assert not hook.got  # what nobody can read yet is told to nobody
            await gateway.written(locked)
            await gateway.until_ready()

            mark = here.phone.mark()
            await here.wait_ready(print)
            await here.phone.dial(CALLEE)
            await here.far_end.wait_for(
                lambda state: bool(state["call"]) and state["call"]["state"] == "ringing", what="ringing", timeout_s=20
            )
            await here.far_end.answer()
            full = await gateway.call()
            with gateway.full():
                assert "full" in await gateway.cannot_write()
                await gateway.goes_on(full)
                await here.phone.hang_up()
                await here.far_end.wait_for(lambda state: state["call"] is None, what="end of the call", timeout_s=10)
                assert "full" in (await gateway.until_ready(unfit="records"))["records"]["detail"]
            await gateway.written(full)
            await gateway.until_ready()
            async with asyncio.timeout(20):
                while [one.event["data"]["call_id"] for one in hook.got] != [locked, full]:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)

            await here.wait_ready(print)
            check_figures((await http.get("/metrics")).text)
            mark = await incoming(here)
            last = await gateway.call()
            here.gateway.signal(signal.SIGTERM)
            await gateway.until_ready(unfit="draining")
            refused = await http.post("/call/offer", json={"number": CALLEE, "extension": PHONE})
            assert (refused.status_code, refused.json()["code"]) == (409, "draining")
            async with trunk_caller(here) as caller:
                failed = await outcome(caller.invite(user=CALLEE, sdp=OFFER, caller=Caller("1000")))
            assert isinstance(failed, Failed)
            assert failed.status == 503
            await gateway.goes_on(last)
            assert here.gateway.alive()
            await here.phone.hang_up()
            await here.gateway.wait_for(lambda: not here.gateway.alive(), what="end", timeout_s=15)

            names = {one: [span.name for span in await traces.call(one)] for one in (locked, full, last)}
            assert names[locked][0] == names[full][0] == names[last][0] == "call"
            assert {"talk", "page answer", "closing"} <= set(names[locked])
            secret = [here.key, here.token, TRUNK_PASSWORD, TRUNK.answer_secret]
            check_nobody_is_named([*here.gateway.lines(), *map(repr, traces.bodies)], secret)


def check_figures(text: str) -> None:
    """Whether what calls leave in the metrics is there, after two calls."""

    def total(name: str) -> float:
        return sum(float(one) for one in re.findall(rf"^{re.escape(name)}(?:\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE))

    assert total("ponte_calls_total") == total("ponte_call_duration_seconds_count") == 2
    assert 'ponte_calls_total{direction="whatsapp_to_sip",reason="hangup",result="success"} 1.0' in text
    assert 'ponte_page_state{state="READY"} 1.0' in text
    for name in (
        "ponte_call_setup_seconds_count", "ponte_cdp_command_seconds_count", "ponte_sip_responses_total",
        "ponte_rtp_packets_total", "ponte_audio_latency_seconds_count", "ponte_webhook_deliveries_total",
        "ponte_call_mos_count", "ponte_http_request_seconds_count",
    ):  # fmt: skip
        assert total(name) > 0, name
    assert 'ponte_cdp_command_seconds_count{method="Runtime.evaluate"}' in text
    for personal in (CALLER, CALLEE, NAME, TRUNK.user):
        assert personal.removeprefix("+") not in text


def check_nobody_is_named(lines: list[str], secrets: list[str]) -> None:
    """Whether no line has a number, a name, a key or SDP in it, where personal data is dropped."""
    assert len(lines) > 100
    personal = [CALLER.removeprefix("+"), CALLEE.removeprefix("+"), NAME, "a=rtpmap", "m=audio", "ice-pwd", *secrets]
    events = set()
    for line in lines:
        found = [one for one in personal if one in line]
        assert not found, line
        if line.startswith("{"):
            event = json.loads(line)
            events.add(event.get("event"))
            assert not any(name.startswith("pii.") for name in event), line
            # an extension is somebody's too, and short enough to be a part of other words
            assert PHONE not in [value for name, value in event.items() if isinstance(value, str)], line
    assert {"call_ended", "call_state", "http_request", "store_write_waits", "gateway_stopped"} <= events
