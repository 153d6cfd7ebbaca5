"""Serves the API by uvicorn, inside a process that has other work and signal handlers of its own."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Generator

import uvicorn
from starlette.types import ASGIApp

from gateway.api.websocket import WebSocketProtocol
from gateway.domain.errors import ConfigError

_BACKLOG = 128  # Linux' own usual limit
_MAX_CONNECTIONS = 512  # more are answered 503 by uvicorn; file descriptors are left for calls
_CLOSE_TIMEOUT_S = 5  # for answers under way when the server stops


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield  # the process decides what a signal means: a drain, not an end of the API


class ApiServer:
    """One listening socket and its server.

    Args:
        app: the API.
        host: address or name to listen on.
        port: 0 takes a free one; `port` says which.

    Raises:
        ConfigError: it cannot listen there.
    """

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        self._socket = _listen(host, port)
        self.port: int = self._socket.getsockname()[1]
        self._server = _Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,  # the API writes its own line
                server_header=False,
                lifespan="off",
                ws=WebSocketProtocol,
                ws_max_size=4096,  # nobody has anything to say on ours
                limit_concurrency=_MAX_CONNECTIONS,
                timeout_graceful_shutdown=_CLOSE_TIMEOUT_S,
            )
        )

    async def run(self) -> None:
        """Serve until `stop` is called, then finish the answers under way."""
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            self._socket.close()

    def stop(self) -> None:
        """Take no new connections; `run` returns soon after."""
        self._server.should_exit = True


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # The protocol is named: asyncio turns Nagle's algorithm off only where it is, and with it on, an answer of two
        # writes waits 40 ms for the client's delayed ACK.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        raise ConfigError(f"Cannot listen on {host}: {error.strerror}", "api_host") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            text = f"Port {port} of {host} is in use by another program: stop it, or set PONTE_API_PORT"
            raise ConfigError(text, "api_port") from None
        raise ConfigError(f"Cannot listen on port {port} of {host}: {error.strerror}", "api_host") from None
    return listener
