"""Runs the stand-in: in this process, or in one of its own that a test holds by a context manager."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import httpx2
import numpy as np
import uvicorn

from gateway.api.websocket import WebSocketProtocol
from tests.standin.certificate import write_certificate
from tests.standin.control import control_app
from tests.standin.farend import FarEnd
from tests.standin.site import HOST, site_app
from tests.standin.sound import Samples, read_wav

ROOT: Final = Path(__file__).resolve().parents[2]
URL: Final = f"https://{HOST}/"


def chromium_flags(https_port: int) -> list[str]:
    """Return the switches by which a Chromium takes the stand-in for WhatsApp Web."""
    return [f"--host-resolver-rules=MAP {HOST} 127.0.0.1:{https_port}", "--ignore-certificate-errors"]


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a running stand-in listens, always on 127.0.0.1."""

    https: int
    control: int

    def ready_line(self) -> str:
        """Return the one line of JSON that says so."""
        return json.dumps(
            {
                "event": "ready", "https_port": self.https, "control_port": self.control, "url": URL,
                "control_url": f"http://127.0.0.1:{self.control}", "chromium_flags": chromium_flags(self.https),
            }
        )  # fmt: skip


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


def _listen(port: int, path: Path | None = None) -> socket.socket:
    if path is not None:
        return socket.create_server(str(path), family=socket.AF_UNIX, backlog=64)
    try:
        return socket.create_server(("127.0.0.1", port), backlog=64)
    except OSError as error:
        raise SystemExit(f"The stand-in cannot listen on 127.0.0.1:{port}: {os.strerror(error.errno or 0)}.") from None


@contextlib.asynccontextmanager
async def serve(https_port: int = 0, control_port: int = 0, control_path: Path | None = None) -> AsyncIterator[Ports]:
    """Run the stand-in in this event loop for as long as the block lasts.

    Args:
        https_port: for the page; 0 takes a free one.
        control_port: for the remote control; 0 takes a free one.
        control_path: a Unix socket for the remote control instead: it is reached from other network namespaces too.
    """
    far_end = FarEnd()
    running = asyncio.Event()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="standin-")))
        certificate, key = write_certificate(folder, HOST)
        https = stack.enter_context(_listen(https_port))
        control = stack.enter_context(_listen(control_port, control_path))
        common: dict[str, Any] = {
            "log_config": None, "access_log": False, "lifespan": "off", "ws": WebSocketProtocol,
            "ws_per_message_deflate": False, "timeout_graceful_shutdown": 1, "server_header": False,
        }  # fmt: skip
        servers = [
            _Server(uvicorn.Config(site_app(far_end), ssl_certfile=certificate, ssl_keyfile=key, **common)),
            _Server(uvicorn.Config(control_app(far_end), **common)),
        ]
        async with asyncio.TaskGroup() as tasks:
            speaking = tasks.create_task(far_end.run(running.set))
            for server, sock in zip(servers, (https, control), strict=True):
                tasks.create_task(server.serve(sockets=[sock]))
            await running.wait()
            for server in servers:
                await server.listening.wait()
            try:
                yield Ports(https.getsockname()[1], 0 if control_path else control.getsockname()[1])
            finally:
                for server in servers:
                    server.should_exit = True
                speaking.cancel()


class StandIn:
    """A stand-in in a process of its own, and its remote control.

    The process ends with the block; when the test is killed it ends all the same, as its standard input closes.

    Attributes:
        ports: where it listens, once the block was entered.
    """

    def __init__(self) -> None:
        self.ports = Ports(0, 0)
        self._process: asyncio.subprocess.Process | None = None
        self._client: httpx2.AsyncClient | None = None

    @property
    def flags(self) -> list[str]:
        """The switches for the Chromium that is to open :attr:`url`."""
        return chromium_flags(self.ports.https)

    @property
    def url(self) -> str:
        """The page's address."""
        return URL

    @property
    def control_url(self) -> str:
        """The remote control's address."""
        return f"http://127.0.0.1:{self.ports.control}"

    async def __aenter__(self) -> StandIn:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.standin", "--https-port", "0", "--control-port", "0", "--end-with-stdin",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), 20)
            ready = json.loads(line)
        except BaseException:
            await self._stop()
            raise
        self.ports = Ports(ready["https_port"], ready["control_port"])
        self._client = httpx2.AsyncClient(base_url=self.control_url, timeout=20)
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            await self._client.aclose()
        await self._stop()

    async def _stop(self) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def request(self, method: str, path: str, **arguments: Any) -> httpx2.Response:
        """Send one request to the remote control and return its answer, whatever it is."""
        assert self._client is not None, "the stand-in does not run"
        return await self._client.request(method, path, **arguments)

    async def post(self, path: str, **fields: Any) -> dict[str, Any]:
        """POST *fields* as JSON and return the answer.

        Raises:
            AssertionError: it was not 200; the message has the stand-in's sentence.
        """
        response = await self.request("POST", path, json=fields)
        assert response.status_code == 200, f"POST {path}: {response.status_code} {response.text}"
        answer: dict[str, Any] = response.json()
        return answer

    async def get(self, path: str) -> dict[str, Any]:
        """GET *path* and return the answer."""
        response = await self.request("GET", path)
        assert response.status_code == 200, f"GET {path}: {response.status_code} {response.text}"
        answer: dict[str, Any] = response.json()
        return answer

    async def state(self) -> dict[str, Any]:
        """Return ``GET /state``."""
        return await self.get("/state")

    async def marks(self) -> dict[str, list[dict[str, Any]]]:
        """Return ``GET /marks``."""
        return await self.get("/marks")

    async def ring(self, caller: str, **fields: Any) -> str:
        """Call the page; return the call's id."""
        return str((await self.post("/ring", **{"from": caller, **fields}))["id"])

    async def say_wav(self, wav: bytes) -> dict[str, Any]:
        """Let the far end speak a WAV file."""
        response = await self.request("POST", "/say", content=wav, headers={"content-type": "audio/wav"})
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    async def heard(self, seconds: float) -> Samples:
        """Return the last *seconds* of what the far end heard: mono s16 at 16 kHz."""
        response = await self.request("GET", "/heard.wav", params={"seconds": seconds})
        assert response.status_code == 200, response.text
        return read_wav(response.content, max_seconds=seconds + 1).astype(np.int16)

    async def wait_for(self, seen: Callable[[dict[str, Any]], bool], timeout_s: float = 10) -> dict[str, Any]:
        """Ask for the state until *seen* says yes to it.

        Raises:
            AssertionError: it did not in time; the message has the last state.
        """
        deadline = time.monotonic() + timeout_s
        while not seen(state := await self.state()):
            assert time.monotonic() < deadline, f"not seen within {timeout_s} s: {json.dumps(state)}"
            await asyncio.sleep(0.05)
        return state
