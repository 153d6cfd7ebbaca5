"""Everything that takes part in a call, on loopback: PBX, phone, gateway, wasm server, helper, Chromium, stand-in."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

import httpx2

from tests.demo.chrome import Chrome, UrlForm, helper_chrome, plain_chrome
from tests.demo.farend import FarEnd, far_end
from tests.support.baresip import PORTS_NEEDED, Baresip, baresip
from tests.support.far_host import FarHost
from tests.support.kamailio import Kamailio, Trunk, kamailio
from tests.support.ports import LOOPBACK, free_ports
from tests.support.processes import Process, running
from tests.support.rtpengine import Rtpengine, rtpengine
from tests.support.wire import Tap, tapping

ROOT: Final = Path(__file__).resolve().parents[2]

# As in the example of the API's description.
TRUNK: Final = Trunk("whatsapp_trunk", "incoming_user", "incomingSecret123")
TRUNK_PASSWORD: Final = "mySecurePassword123"
PHONE: Final = "1000"
PHONE_PASSWORD: Final = "phone1000"
GUEST: Final = "1001"
GUEST_PASSWORD: Final = "phone1001"

# The demo and the sandbox are run as root in containers, and hold a page that is ours.
_ROOT_FLAGS: Final = ("--no-sandbox",)


class WorldError(Exception):
    """The gateway refused, or did not get ready; the sentence says what was seen."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens, on loopback.

    They are found together, so that nothing is handed a port that another part has not bound yet.

    Attributes:
        api: the gateway's API.
        wasm: the wasm server.
        cdp: Chromium, or the relay in front of it.
        helper: the node helper.
        control: the stand-in's remote control.
        sip: the gateway, once configured.
        pbx: the PBX.
        phone_control: the phone's commands; 0 takes one of the phone's.
        rtp: of the gateway.
        phone: first of the phone's own ports.
    """

    api: int
    wasm: int
    cdp: int
    helper: int
    control: int
    sip: int
    pbx: int
    phone_control: int
    rtp: range
    phone: int

    @classmethod
    def free(cls) -> Self:
        """Ports that nobody uses."""
        first = free_ports(8 + 40 + PORTS_NEEDED)
        api, wasm, cdp, helper, control, sip, pbx = range(first, first + 7)
        return cls(api, wasm, cdp, helper, control, sip, pbx, 0, range(first + 8, first + 48), first + 48)


@dataclass(frozen=True, slots=True)
class WorldOptions:
    """What is to be started.

    Attributes:
        folder: for profiles, databases and logs.
        ports: where.
        with_helper: the node helper in front of Chromium, or a Chromium alone.
        url_form: of ``chromeRemoteURL``.
        key: API key; None lets ``ponte keys create`` choose.
        tap: whether to look at packets, which needs root.
        token: of helper and CDP port; None makes one.
        srtp: phone and gateway speak SRTP and nothing else.
        codec: the only one that the phone speaks.
        media: what carries the audio, as ``PONTE_MEDIA``.
        environment: more settings of the gateway.
        gateway_prefix: what starts the gateway's command, if that is not to be started by itself.
        far: the host of Chromium, helper and stand-in, if not this one.
    """

    folder: Path
    ports: Ports
    with_helper: bool = True
    url_form: UrlForm = "ws"
    key: str | None = None
    tap: bool = True
    token: str | None = None
    srtp: bool = False
    codec: str = "PCMU"
    media: str = "built-in"
    environment: Mapping[str, str] = field(default_factory=dict)
    far: FarHost | None = None
    gateway_prefix: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class World:
    """Everything, running.

    Attributes:
        options: what was asked for.
        key: API key.
        token: of helper and CDP port.
        far_end: the stand-in.
        chrome: the Chromium.
        pbx: the PBX.
        phone: the phone behind it.
        gateway: the gateway.
        engine: the rtpengine, where one carries the audio.
    """

    options: WorldOptions
    key: str
    token: str
    far_end: FarEnd
    chrome: Chrome
    pbx: Kamailio
    phone: Baresip
    gateway: Process
    _start_gateway: Callable[[str], Awaitable[Process]]
    _tap: Tap | None
    _http: httpx2.AsyncClient
    engine: Rtpengine | None = None

    @property
    def tap(self) -> Tap:
        """The packet tap.

        Raises:
            RuntimeError: this world has none.
        """
        if self._tap is None:
            raise RuntimeError("this world was started without a packet tap")
        return self._tap

    async def gateway_again(self, log: str) -> Self:
        """Start the gateway once more, after it has ended; the world that is returned has the new one.

        Args:
            log: its log file, of a name of its own.

        Raises:
            ProcessFailed: it did not start.
        """
        return replace(self, gateway=await self._start_gateway(log))

    @staticmethod
    def now() -> float:
        """Wall clock, which packets and marks are stamped with."""
        return time.time()

    async def configuration(self) -> dict[str, Any]:
        """The body for ``POST /call/bridge/config``: that of the API's description, with our addresses."""
        ports = self.options.ports
        return {
            "enabled": True,
            "sipServer": self.pbx.address,
            "sipUser": TRUNK.user,
            "sipPass": TRUNK_PASSWORD,
            "sipListenPort": ports.sip,
            "sipListenUser": TRUNK.answer_user,
            "sipListenSecret": TRUNK.answer_secret,
            "sipExtension": "",
            "wasmServerPort": ports.wasm,
            "wasmServerIP": LOOPBACK,
            "chromeRemoteURL": await self.chrome.url(self.options.url_form),
            "nodeRemoteHelper": self.chrome.helper_url,
        }

    async def configure(self, body: dict[str, Any]) -> dict[str, Any]:
        """``POST /call/bridge/config``.

        Raises:
            WorldError: it was refused.
        """
        response = await self._http.post("/call/bridge/config", json=body)
        if response.status_code != 200:
            raise WorldError(f"POST /call/bridge/config: {response.status_code} {response.text}")
        answer: dict[str, Any] = response.json()
        return answer

    async def status(self) -> dict[str, Any]:
        """``GET /call/bridge/status``."""
        response = await self._http.get("/call/bridge/status")
        if response.status_code != 200:
            raise WorldError(f"GET /call/bridge/status: {response.status_code} {response.text}")
        answer: dict[str, Any] = response.json()
        return answer

    async def readiness(self) -> dict[str, Any]:
        """The checks of ``GET /readyz``, by name."""
        checks: dict[str, Any] = (await self._http.get("/readyz")).json()["checks"]
        return checks

    async def wait_ready(self, say: Callable[[str], None], *, timeout_s: float = 60) -> None:
        """Wait until a call could be made: page, media, registration and listener.

        Args:
            say: told each time that a part's state changes.
            timeout_s: how long at most.

        Raises:
            WorldError: not in time, or the gateway ended.
        """
        wanted = {"page": "READY", "media": "connected", "registration": "registered", "listener": "listening"}
        deadline, last = time.monotonic() + timeout_s, ""
        while True:
            state: dict[str, Any] = (await self.status())["state"]
            shown = ", ".join(f"{name} {state[name]['state']}" for name in wanted)
            if shown != last:
                say(shown)
                last = shown
            if all(state[name]["state"] == value for name, value in wanted.items()):
                return
            if not self.gateway.alive():
                raise WorldError(f"the gateway ended; its last words:\n{self.gateway.tail()}")
            if time.monotonic() > deadline:
                details = "; ".join(f"{name} {state[name]['state']}: {state[name]['detail']}" for name in wanted)
                raise WorldError(
                    f"not ready within {timeout_s:g} s: {details}\nThe gateway's last words:\n{self.gateway.tail()}"
                )
            await asyncio.sleep(0.25)

    async def wait_lost(self, *, timeout_s: float = 10) -> None:
        """Wait until the gateway has noticed that its page is gone.

        Raises:
            WorldError: it has not in time.
        """
        deadline = time.monotonic() + timeout_s
        while (await self.status())["state"]["page"]["state"] == "READY":
            if time.monotonic() > deadline:
                raise WorldError(f"the gateway has not noticed within {timeout_s:g} s that Chromium is gone")
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def world(options: WorldOptions, say: Callable[[str], None]) -> AsyncIterator[World]:
    """Start everything for the length of the block; nothing is configured yet.

    Args:
        options: what to start.
        say: told what is going on.

    Raises:
        ProcessFailed: a program did not start; the sentence has its last words.
        NoTap: a packet tap is wanted, but not allowed.
    """
    folder, ports = options.folder, options.ports
    async with AsyncExitStack() as stack:
        say("kamailio and baresip: PBX and phone")
        users = {TRUNK.user: TRUNK_PASSWORD, PHONE: PHONE_PASSWORD, GUEST: GUEST_PASSWORD}
        pbx = await stack.enter_async_context(
            kamailio(folder / "kamailio", users=users, trunk=TRUNK, reception=PHONE, port=ports.pbx)
        )
        phone = await stack.enter_async_context(
            baresip(
                folder / "baresip", user=PHONE, password=PHONE_PASSWORD, registrar=pbx.address,
                control_port=ports.phone_control, first_port=ports.phone, srtp=options.srtp,
                codecs=[options.codec],
            )
        )  # fmt: skip
        tap = stack.enter_context(tapping(phone.rtp_ports, phone.port, ports.pbx, ports.sip)) if options.tap else None
        say("stand-in for WhatsApp Web")
        other_phone = await stack.enter_async_context(
            far_end(folder, control_port=ports.control, root=ROOT, prefix=options.far.prefix if options.far else ())
        )
        flags = [*_ROOT_FLAGS, *other_phone.chromium_flags]
        token = options.token or secrets.token_urlsafe(24)
        if options.with_helper:
            say("node helper and headless Chromium")
            chrome: Chrome = await stack.enter_async_context(
                helper_chrome(
                    folder, root=ROOT, port=ports.helper, cdp_port=ports.cdp, token=token, flags=flags,
                    far=options.far,
                )
            )  # fmt: skip
        else:
            say("headless Chromium")
            chrome = await stack.enter_async_context(plain_chrome(folder, cdp_port=ports.cdp, flags=flags))
        env = _gateway_environment(options, token)
        engine = None
        if options.media == "rtpengine":
            say("rtpengine")
            engine = await stack.enter_async_context(rtpengine(folder))
            env |= {
                "PONTE_MEDIA": "rtpengine",
                "PONTE_RTPENGINE": f"udp:{LOOPBACK}:{engine.port}",
                "PONTE_RTPENGINE_KEYS": f"{LOOPBACK}:{engine.keys_port}",
            }
        say("gateway and wasm server")
        key = await _create_key(options, env)
        argv = [*options.gateway_prefix, sys.executable, "-m", "gateway.cli", "serve"]

        async def start_gateway(log: str) -> Process:
            process = await stack.enter_async_context(
                running("gateway", argv, log=folder / log, env=env, cwd=ROOT)
            )  # fmt: skip
            await process.wait_line(lambda line: '"ready"' in line and line.startswith("{"), what="ready", timeout_s=30)
            return process

        gateway = await start_gateway("gateway.log")
        http = await stack.enter_async_context(
            httpx2.AsyncClient(
                base_url=f"http://{LOOPBACK}:{ports.api}", headers={"authorization": f"Bearer {key}"}, timeout=30
            )
        )
        yield World(options, key, token, other_phone, chrome, pbx, phone, gateway, start_gateway, tap, http, engine)


def _gateway_environment(options: WorldOptions, token: str) -> dict[str, str]:
    ports = options.ports
    return {
        "PONTE_API_HOST": LOOPBACK,
        "PONTE_API_PORT": str(ports.api),
        "PONTE_SIP_HOST": LOOPBACK,
        "PONTE_WASM_HOST": LOOPBACK,
        "PONTE_WASM_PORT": str(ports.wasm),
        "PONTE_RTP_PORT_MIN": str(ports.rtp.start),
        "PONTE_RTP_PORT_MAX": str(ports.rtp.stop - 1),
        "PONTE_SRTP": "offer" if options.srtp else "accept",
        "PONTE_STATE_DIR": str(options.folder / "gateway"),
        "PONTE_HELPER_TOKEN": token,
        "PONTE_LOG_FORMAT": "json",
        "PONTE_LOG_LEVEL": "debug",
        **options.environment,
    }


async def _create_key(options: WorldOptions, env: dict[str, str]) -> str:
    chosen = ["--key", options.key] if options.key else []
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway.cli", "keys", "create", "--account", "demo", *chosen,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **env}, cwd=ROOT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(30):
            key, words = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise WorldError(words.decode().strip())
    return key.decode().strip()
