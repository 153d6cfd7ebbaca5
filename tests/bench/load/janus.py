"""Janus with nothing but its SIP plugin and its Unix socket, from a configuration of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final, Self

from tests.bench.load.sdp import HOST
from tests.support.ports import free_ports
from tests.support.processes import Process, ProcessFailed, running

_ANSWER_S: Final = 15.0
_STARTS: Final = 4
_START_S: Final = 6.0
_MESSAGE_BYTES: Final = 1 << 18
_MODULES: Final = ("plugins/libjanus_sip.so", "transports/libjanus_pfunix.so")

_CORE: Final = """
general: {{
    configs_folder = "{folder}"
    plugins_folder = "{folder}/plugins"
    transports_folder = "{folder}/transports"
    events_folder = "{folder}/events"
    loggers_folder = "{folder}/loggers"
    debug_level = 2
    session_timeout = 0
    server_name = "load"
}}
certificates: {{ }}
media: {{ rtp_port_range = "{first}-{last}" }}
nat: {{
    ice_enforce_list = "{page_host}"
}}
"""
_SIP: Final = """
general: {{
    local_ip = "{host}"
    sdp_ip = "{host}"
    rtp_port_range = "{first}-{last}"
}}
"""
_SOCKET: Final = """
general: {{
    enabled = true
    json = "plain"
    path = "{path}"
    type = "SOCK_SEQPACKET"
}}
"""


def _libraries() -> Path:
    return next(Path("/usr/lib").glob("*/janus"))


class Janus:
    """A Janus that runs.

    Attributes:
        pid: its process id.
    """

    def __init__(self, pid: int, opened: socket.socket) -> None:
        self.pid = pid
        self._socket = opened
        self._loop = asyncio.get_running_loop()
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._events: dict[int, asyncio.Queue[dict[str, Any]]] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def started(cls, program: str, folder: Path, calls: int, page_host: str) -> AsyncIterator[Self]:
        """Run Janus for the length of the block."""
        for name in ("plugins", "transports", "events", "loggers"):
            (folder / name).mkdir()
        for module in _MODULES:
            (folder / module).symlink_to(_libraries() / module)
        path = folder / "api"
        first = free_ports(16 * calls + 16)
        middle, last = first + 8 * calls + 8, first + 16 * calls + 15
        for name, text in (
            ("janus.jcfg", _CORE.format(folder=folder, first=first, last=middle - 1, page_host=page_host)),
            ("janus.plugin.sip.jcfg", _SIP.format(first=middle, last=last, host=HOST)),
            ("janus.transport.pfunix.jcfg", _SOCKET.format(path=path)),
        ):
            (folder / name).write_text(text)
        argv = (program, f"--configs-folder={folder}", f"--config={folder}/janus.jcfg", "--disable-colors")
        async with contextlib.AsyncExitStack() as stack:
            process, opened = await _started(stack, argv, folder, path)
            janus = cls(process.pid, opened)
            reading = asyncio.create_task(janus._read())
            try:
                yield janus
            finally:
                reading.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await reading
                opened.close()

    async def call(self, uri: str, offer: str) -> str:
        """Call *uri* for a page that made *offer*; return the answer for the page."""
        session = (await self._ask({"janus": "create"}))["data"]["id"]
        place = {"session_id": session}
        attach = {"janus": "attach", "plugin": "janus.plugin.sip"}
        place["handle_id"] = handle = (await self._ask({**attach, **place}))["data"]["id"]
        events = self._events[handle] = asyncio.Queue()
        guest = {"request": "register", "type": "guest", "username": f"sip:load{handle}@{HOST}"}
        await self._ask({"janus": "message", "body": guest, **place})
        await _until(events, "registered")
        jsep = {"type": "offer", "sdp": offer, "trickle": False}
        await self._ask({"janus": "message", "body": {"request": "call", "uri": uri}, "jsep": jsep, **place})
        return str((await _until(events, "accepted"))["jsep"]["sdp"])

    async def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        transaction = secrets.token_hex(8)
        answer = self._answers[transaction] = self._loop.create_future()
        await self._loop.sock_sendall(self._socket, json.dumps({**message, "transaction": transaction}).encode())
        found: dict[str, Any] = await asyncio.wait_for(answer, _ANSWER_S)
        if found["janus"] == "error":
            raise RuntimeError(f"Janus refused: {found['error']}")
        return found

    async def _read(self) -> None:
        while data := await self._loop.sock_recv(self._socket, _MESSAGE_BYTES):
            message = json.loads(data)
            if message["janus"] in {"success", "ack", "error"}:
                if waiting := self._answers.pop(message.get("transaction", ""), None):
                    waiting.set_result(message)
            elif message["janus"] == "event" and (events := self._events.get(message["sender"])):
                events.put_nowait(message)


async def _started(
    stack: contextlib.AsyncExitStack, argv: Sequence[str], folder: Path, path: Path
) -> tuple[Process, socket.socket]:
    """Start Janus; again where it was too late for itself.

    The thread of its Unix socket may look whether it is to run before that is said: then it ends, and Janus says that
    it has no transport, or hangs (one start in twenty).
    """
    for left in reversed(range(_STARTS)):
        async with contextlib.AsyncExitStack() as attempt:
            process = await attempt.enter_async_context(running("janus", argv, log=folder / "janus.log", cwd=folder))
            try:
                opened = await _connect(process, path)
            except ProcessFailed:
                if not left:
                    raise
                continue
            stack.push_async_exit(attempt.pop_all())
            return process, opened
    raise AssertionError("the last start returns or raises")


async def _connect(process: Process, path: Path) -> socket.socket:
    """Connect to the socket once it is there."""
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    opened.setblocking(False)

    def connected() -> bool:
        return path.exists() and opened.connect_ex(str(path)) == 0

    try:
        await process.wait_for(connected, what="its socket", timeout_s=_START_S)
    except BaseException:
        opened.close()
        raise
    return opened


async def _until(events: asyncio.Queue[dict[str, Any]], wanted: str) -> dict[str, Any]:
    """Return the plugin's event of that name."""
    async with asyncio.timeout(_ANSWER_S):
        while True:
            event = await events.get()
            data = event["plugindata"]["data"]
            result = data.get("result", {})
            if result.get("event") == wanted:
                return event
            if "error" in data or result.get("event") in {"hangup", "registration_failed"}:
                raise RuntimeError(f"Janus did not come to {wanted}: {data}")
