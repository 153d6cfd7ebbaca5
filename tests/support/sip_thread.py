"""A SIP listener in a thread of its own, for tests that cannot be coroutines."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from gateway.sip import EndpointSettings, IncomingInvite, SipServer, SipStack
from tests.support.ports import LOOPBACK
from tests.support.sip_lab import request_text
from tests.support.sip_ua import quick_settings


@dataclass
class ThreadedListener:
    """A listener, and a socket that talks to it; calls are taken from anywhere on loopback and rejected."""

    address: tuple[str, int]
    peer: socket.socket
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def send(self, data: bytes) -> None:
        self.peer.sendto(data, self.address)

    def assert_alive(self, tries: int = 5) -> None:
        """Ask by OPTIONS until the answer comes; what else arrives is left unread."""
        for _ in range(tries):
            call_id = f"alive-{next(self.numbers)}"
            self.send(request_text("OPTIONS", branch=f"z9hG4bK{call_id}", call_id=call_id).encode())
            with contextlib.suppress(TimeoutError):
                while f"Call-ID: {call_id}\r\n".encode() not in self.peer.recv(65_535):
                    pass
                return
        raise AssertionError("the listener does not answer any more")


@contextlib.contextmanager
def threaded_listener() -> Iterator[ThreadedListener]:
    """Run a listener for the length of the block."""
    ready, stop = threading.Event(), asyncio.Event()
    found: list[tuple[int, asyncio.AbstractEventLoop]] = []

    def take(call: IncomingInvite) -> None:
        call.reject(486)

    async def serve() -> None:
        stack = SipStack(quick_settings())
        await stack.start()
        try:
            settings = EndpointSettings(server=SipServer(LOOPBACK), listen_port=0, listen_host=LOOPBACK)
            endpoint = await stack.add_endpoint(settings, take)
            found.append((endpoint.listener.port, asyncio.get_running_loop()))
            ready.set()
            await stop.wait()
        finally:
            ready.set()
            await stack.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(20)
        assert found, "the listener did not start"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind((LOOPBACK, 0))
            peer.settimeout(2)
            yield ThreadedListener((LOOPBACK, found[0][0]), peer)
    finally:
        for _, loop in found:
            loop.call_soon_threadsafe(stop.set)
        thread.join(20)
