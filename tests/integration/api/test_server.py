"""The API on a real socket, and the life of a gateway process around it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx2
import pytest
from starlette.types import Receive, Scope, Send

from gateway.api.app import create_app
from gateway.api.server import ApiServer
from gateway.config import Settings
from gateway.domain.errors import ConfigError
from gateway.service import StopRequests, serve
from tests.integration.api.conftest import Api
from tests.integration.api.fakes import FakeAccounts

pytestmark = pytest.mark.integration


@asynccontextmanager
async def served(api: Api) -> AsyncIterator[int]:
    server = ApiServer(create_app(api.deps), "127.0.0.1", 0)
    async with asyncio.TaskGroup() as group:
        group.create_task(server.run())
        try:
            yield server.port
        finally:
            server.stop()


async def exchange(port: int, request: bytes) -> tuple[int, bytes]:
    """Send raw bytes, read until the server closes; return the status and everything after the status line."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(20):
            with suppress(ConnectionError):
                writer.write(request)
                await writer.drain()
            answer = await reader.read()
    finally:
        writer.close()
    line, _, rest = answer.partition(b"\r\n")
    return int(line.split()[1]), rest


def head(api: Api, *lines: str, method: str = "POST", path: str = "/call/bridge/config") -> bytes:
    fixed = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {api.key}", "Connection: close", *lines]
    return "\r\n".join([*fixed, "", ""]).encode()


async def test_a_websocket_whose_close_is_still_under_way_does_not_disturb_the_end() -> None:
    closed = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        sending = asyncio.create_task(_flood(send))
        assert (await receive())["type"] == "websocket.disconnect"
        closed.set()
        sending.cancel()
        await asyncio.wait([sending])

    server = ApiServer(app, "127.0.0.1", 0)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(server.run())
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(client, ("127.0.0.1", server.port))
            await loop.sock_sendall(
                client,
                b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            )
            assert b" 101 " in await loop.sock_recv(client, 64)
            # Close, masked, without a body. Its sender reads no more, so that the server's last words stay with it.
            await loop.sock_sendall(client, b"\x88\x80\x00\x00\x00\x00")
            await closed.wait()
            server.stop()
            await asyncio.sleep(0.3)  # the server looks for the end ten times a second
        finally:
            client.close()


async def _flood(send: Send) -> None:
    while True:
        await send({"type": "websocket.send", "bytes": bytes(1_000_000)})


async def test_the_seed_request_over_http(api: Api) -> None:
    body = json.dumps({"enabled": True, "sipServer": "sip.example.com:5060"}).encode()
    async with served(api) as port:
        status, rest = await exchange(port, head(api, f"Content-Length: {len(body)}") + body)
    assert status == 200
    assert b"SIP bridge configuration updated successfully" in rest
    assert b"uvicorn" not in rest


async def test_a_large_body_gets_its_answer_whatever_its_framing(api: Api) -> None:
    chunk = b"2000\r\n" + b"x" * 0x2000 + b"\r\n"
    async with served(api) as port:
        for request in (
            head(api, "Content-Length: 100000") + b"x" * 100_000,
            head(api, "Transfer-Encoding: chunked") + chunk * 12 + b"0\r\n\r\n",
            head(api, "Content-Length: 100000", "Expect: 100-continue") + b"x" * 100_000,
        ):
            status, rest = await exchange(port, request)
            if status == 100:
                status = int(rest.partition(b"HTTP/1.1 ")[2][:3])
            assert status == 400
            assert b"64 KiB" in rest


async def test_an_answer_waits_for_no_acknowledgement(api: Api) -> None:
    server = ApiServer(create_app(api.deps), "127.0.0.1", 0)
    async with asyncio.TaskGroup() as group:
        group.create_task(server.run())
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
            assert (await client.get("/livez")).status_code == 200
            [connection] = server._server.server_state.connections
            accepted = connection.transport.get_extra_info("socket")
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        server.stop()


async def test_garbage_does_not_stop_the_server(api: Api) -> None:
    async with served(api) as port:
        for garbage in (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nHost x\r\n\r\n"):
            status, _ = await exchange(port, garbage)
            assert status == 400
        status, _ = await exchange(port, b"GET /livez HTTP/1.0\r\n\r\n")
        assert status == 200


async def test_a_client_that_goes_away_in_its_body_is_no_error(api: Api) -> None:
    async with served(api) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head(api, "Content-Length: 100") + b"{")
        await writer.drain()
        writer.close()
        status, _ = await exchange(port, b"GET /livez HTTP/1.0\r\n\r\n")
    assert status == 200


async def test_a_port_in_use_is_one_sentence_that_names_it(api: Api) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"Port {port} of 127.0.0.1 is in use by another program") as caught:
            ApiServer(create_app(api.deps), "127.0.0.1", port)
    assert caught.value.field == "api_port"


async def test_a_drain_waits_for_calls_and_says_not_ready(settings: Settings) -> None:
    accounts, stop = FakeAccounts(), StopRequests()
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    quick = settings.model_copy(update={"api_port": 0})
    async with asyncio.TaskGroup() as group:
        running = group.create_task(serve(quick, accounts.open, with_wasm=False, on_ready=ready.set_result, stop=stop))
        base = f"http://127.0.0.1:{await ready}"
        async with httpx2.AsyncClient(base_url=base) as client:
            assert (await client.get("/readyz")).status_code == 200
            stop.on_sigterm()
            await asyncio.wait_for(accounts.draining.wait(), 5)
            draining = await client.get("/readyz")
            assert draining.status_code == 503
            assert "draining" in draining.json()["checks"]
            assert not running.done()
        accounts.may_end.set()
        await asyncio.wait_for(running, 10)


@pytest.mark.parametrize("how", ["second sigterm", "sigint", "grace"])
async def test_a_drain_ends_when_it_is_told_or_takes_too_long(settings: Settings, how: str) -> None:
    accounts, stop = FakeAccounts(), StopRequests()
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    grace_s = 0.05 if how == "grace" else 60
    quick = settings.model_copy(update={"api_port": 0, "shutdown_grace_s": grace_s})
    async with asyncio.TaskGroup() as group:
        running = group.create_task(serve(quick, accounts.open, with_wasm=False, on_ready=ready.set_result, stop=stop))
        await ready
        if how == "sigint":
            stop.on_sigint()
        else:
            stop.on_sigterm()
            await asyncio.wait_for(accounts.draining.wait(), 5)
            if how == "second sigterm":
                stop.on_sigterm()
        await asyncio.wait_for(running, 10)
    assert not accounts.may_end.is_set()
