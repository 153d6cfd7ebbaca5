"""One CDP connection: a websocket to the browser target, with flattened sessions for pages and workers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from gateway.browser.discovery import ChromeVersion, chrome_version
from gateway.browser.endpoint import BrowserEndpoint, join_host_port
from gateway.browser.errors import CdpError, ChromeUnauthorized, ChromeUnreachable, ConnectionLost, PageGone
from gateway.browser.http import Resolved, resolve, tls_context
from gateway.browser.settings import BrowserSettings
from gateway.browser.windows import Windows
from gateway.domain.errors import PeerTimeout, Unavailable

Handler = Callable[[dict[str, Any], str | None], None]

_SLOW_HANDLER_S: Final = 0.05  # two RTP packet times: what a handler may hold up at most without being named
CONTROLLER: Final = "Ponte-Controller"
"""Header of the websocket's handshake by which a node helper knows who comes back."""

_SESSION_NOT_FOUND: Final = -32001
_MAX_TASKS: Final = 256  # answers under way to what Chrome asks; a page makes a handful at a time


@dataclass(slots=True)
class _Pending:
    method: str
    session_id: str | None
    future: asyncio.Future[dict[str, Any]]
    sent_s: float = field(default_factory=time.monotonic)


class CdpConnection:
    """One websocket to Chrome's browser target.

    Commands may be sent from any number of tasks. Events go to handlers in the order in which they came; a handler is
    synchronous and short, longer work goes through `spawn`. An event or answer of a session that nobody knows any more
    is ignored.

    Attributes:
        closed: set once the websocket is gone: the sign of life of Chrome.
        reason: why it closed; empty while it is open.
        version: what Chrome said of itself.
        windows: follows what its pages open beside themselves.
    """

    def __init__(
        self,
        websocket: ClientConnection,
        version: ChromeVersion,
        *,
        max_pending: int,
        on_answer: Callable[[str, float], None],
    ) -> None:
        self.closed = asyncio.Event()
        self.reason = ""
        self.version = version
        self.last_heard = time.monotonic()
        self._websocket = websocket
        self._max_pending = max_pending
        self._on_answer = on_answer
        self._last_id = 0
        self._pending: dict[int, _Pending] = {}
        self._handlers: dict[str, list[Handler]] = {}
        self._close_callbacks: list[Callable[[str], None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._log = structlog.get_logger("gateway.browser.cdp")
        self.windows = Windows(self)

    async def send(
        self,
        method: str,
        params: dict[str, object] | None = None,
        *,
        session_id: str | None = None,
        timeout_s: float = 10,
    ) -> dict[str, Any]:
        """Send one command and return its result.

        Args:
            method: for example ``Page.navigate``.
            params: its parameters.
            session_id: the flattened session, None for the browser itself.
            timeout_s: seconds until the answer must be there.

        Raises:
            CdpError: Chrome refused it.
            PeerTimeout: no answer in time.
            ConnectionLost: the connection is or was closed.
            PageGone: the session's target went away.
        """
        if self.closed.is_set():
            raise ConnectionLost(f"The connection to Chrome is closed: {self.reason}")
        if len(self._pending) >= self._max_pending:
            raise Unavailable(f"Chrome owes {self._max_pending} answers already; it does not keep up")
        self._last_id += 1
        command_id = self._last_id
        message: dict[str, object] = {"id": command_id, "method": method}
        if params:
            message["params"] = params
        if session_id is not None:
            message["sessionId"] = session_id
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._pending[command_id] = _Pending(method, session_id, future)
        try:
            async with asyncio.timeout(timeout_s):
                await self._websocket.send(json.dumps(message, separators=(",", ":")))
                return await future
        except TimeoutError:
            self._on_answer(method, timeout_s)
            raise PeerTimeout(f"Chrome did not answer {method} within {timeout_s:g} s") from None
        except ConnectionClosed:
            raise ConnectionLost(f"The connection to Chrome closed during {method}") from None
        finally:
            self._pending.pop(command_id, None)
            future.cancel()

    def on(self, method: str, handler: Handler) -> Callable[[], None]:
        """Call *handler* with the parameters and the session id of every event *method*.

        Returns:
            A function that ends it; calling it twice does no harm.
        """
        self._handlers.setdefault(method, []).append(handler)

        def unsubscribe() -> None:
            handlers = self._handlers.get(method, [])
            if handler in handlers:
                handlers.remove(handler)

        return unsubscribe

    def on_close(self, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call *callback* once with the reason when the connection closes; returns a function that ends it."""
        self._close_callbacks.append(callback)

        def unsubscribe() -> None:
            if callback in self._close_callbacks:
                self._close_callbacks.remove(callback)

        return unsubscribe

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run *work* as a task that this connection owns: it is awaited, or cancelled, when the connection closes.

        A failure is logged under *name*: it concerns one answer, not the connection.
        """
        if self.closed.is_set() or len(self._tasks) >= _MAX_TASKS:
            work.close()
            self._log.warning("cdp.task_dropped", task=name, running=len(self._tasks))
            return
        task = asyncio.get_running_loop().create_task(self._guard(work, name), name=name)
        self._tasks.add(task)

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            work.close()  # a task that was cancelled before its first step has not touched it

        task.add_done_callback(done)

    def fail_session(self, session_id: str, why: str) -> None:
        """Fail the commands under way in a session: Chrome forgets to answer them when the target goes."""
        for pending in list(self._pending.values()):
            if pending.session_id == session_id and not pending.future.done():
                pending.future.set_exception(PageGone(f"{why}, during {pending.method}"))

    async def close(self, reason: str = "closed by the gateway") -> None:
        """Close the websocket and end what the connection owns. Calling it again does no harm."""
        self._finish(reason)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(ConnectionClosed, OSError):
            await self._websocket.close()

    async def read(self) -> None:
        """Read until the websocket closes. The owner of the connection runs this once."""
        reason = "Chrome closed the connection"
        try:
            # When Chrome sends faster than we handle, the library stops reading at 16 messages and TCP slows it down.
            async for message in self._websocket:
                self.last_heard = time.monotonic()
                self._receive(message)
        except ConnectionClosed as error:
            frame = error.rcvd or error.sent
            if frame is not None and frame.code == 1009:
                reason = "Chrome sent a message larger than the gateway takes"
            else:
                reason = "the connection to Chrome broke"
        finally:
            self._finish(reason)

    async def _guard(self, work: Coroutine[Any, Any, None], name: str) -> None:
        try:
            await work
        except Unavailable:
            pass  # the target or the connection went away meanwhile, and its owner was told
        except Exception:
            self._log.exception("cdp.task_failed", task=name)

    def _finish(self, reason: str) -> None:
        if self.closed.is_set():
            return
        self.reason = reason
        self.closed.set()
        for pending in list(self._pending.values()):
            if not pending.future.done():
                pending.future.set_exception(ConnectionLost(f"{reason}, during {pending.method}"))
        for callback in list(self._close_callbacks):
            self._run_handler("close", lambda callback=callback: callback(reason))  # type: ignore[misc]
        self._close_callbacks.clear()
        self._handlers.clear()

    def _receive(self, data: str | bytes) -> None:
        try:
            message = json.loads(data)
        except ValueError:
            self._log.warning("cdp.not_json", size_bytes=len(data))
            return
        if not isinstance(message, dict):
            return
        command_id = message.get("id")
        if command_id is not None:
            self._resolve(command_id, message)
            return
        method, params = message.get("method"), message.get("params", {})
        if not isinstance(method, str) or not isinstance(params, dict):
            return
        session_id = message.get("sessionId")
        for handler in list(self._handlers.get(method, ())):
            self._run_handler(method, lambda handler=handler: handler(params, session_id))  # type: ignore[misc]
        if method == "Target.detachedFromTarget" and isinstance(params.get("sessionId"), str):
            self.fail_session(params["sessionId"], "The page or worker was closed")

    def _resolve(self, command_id: object, message: dict[str, Any]) -> None:
        pending = self._pending.get(command_id) if isinstance(command_id, int) else None
        if pending is None or pending.future.done():
            return  # its caller gave up
        self._on_answer(pending.method, time.monotonic() - pending.sent_s)
        error = message.get("error")
        if error is None:
            result = message.get("result")
            pending.future.set_result(result if isinstance(result, dict) else {})
            return
        details = error if isinstance(error, dict) else {}
        number, text = details.get("code"), str(details.get("message", "no reason given"))
        if number == _SESSION_NOT_FOUND:
            pending.future.set_exception(PageGone(f"The page or worker was closed before {pending.method}"))
            return
        pending.future.set_exception(CdpError(pending.method, number if isinstance(number, int) else 0, text))

    def _run_handler(self, event: str, call: Callable[[], None]) -> None:
        started = time.monotonic()
        try:
            call()
        except Exception:
            # One subscriber's mistake must not end the connection for all others.
            self._log.exception("cdp.handler_failed", cdp_event=event)
        took_s = time.monotonic() - started
        if took_s > _SLOW_HANDLER_S:
            self._log.warning("cdp.handler_slow", cdp_event=event, took_s=round(took_s, 3))


async def _open_websocket(
    endpoint: BrowserEndpoint, version: ChromeVersion, settings: BrowserSettings, controller: str
) -> ClientConnection:
    targets = await resolve(endpoint, settings.http)
    for target in targets[:-1]:
        try:
            return await _upgrade(target, version, settings, controller)
        except ChromeUnreachable:
            continue  # the name has another address, and /json/version was found at one of them
    return await _upgrade(targets[-1], version, settings, controller)


async def _upgrade(
    target: Resolved, version: ChromeVersion, settings: BrowserSettings, controller: str
) -> ClientConnection:
    endpoint = target.endpoint
    scheme = "wss" if endpoint.secure else "ws"
    try:
        return await connect(
            f"{scheme}://{target.netloc}{version.websocket_path}",
            host=str(target.address),
            port=endpoint.port,
            ssl=tls_context(settings.http) if endpoint.secure else None,
            additional_headers={**target.headers, **({CONTROLLER: controller} if controller else {})},
            origin=None,  # Chrome answers 403 to any Origin that it was not told of
            proxy=None,
            compression=None,  # a LAN; deflate would cost more than it saves
            open_timeout=settings.http.timeout_s,
            ping_interval=None,  # `Browser` asks Chrome itself: a relay's pong says nothing about Chrome
            close_timeout=2,
            max_size=settings.max_message_bytes,
        )
    except InvalidStatus as error:
        status = error.response.status_code
        if status in {401, 403}:
            raise ChromeUnauthorized(
                f"{endpoint} refused the websocket (HTTP {status}); give its token as ws://:TOKEN@{endpoint.netloc}"
            ) from None
        raise ChromeUnreachable(
            f"{endpoint.netloc} refused the websocket (HTTP {status}); Chrome may be restarting"
        ) from None
    except (InvalidHandshake, EOFError, OSError, TimeoutError):
        raise ChromeUnreachable(
            f"{endpoint.netloc} answered over HTTP but not as a websocket; let what stands before Chrome pass upgrades"
        ) from None


@contextlib.asynccontextmanager
async def connect_cdp(
    endpoint: BrowserEndpoint, settings: BrowserSettings, *, controller: str = ""
) -> AsyncIterator[CdpConnection]:
    """Connect once; the connection lives as long as the block, or as Chrome lets it.

    Args:
        endpoint: where Chrome is.
        settings: time-outs and bounds.
        controller: who connects: a node helper ends the connection that it has of the same one before.

    Raises:
        ChromeUnreachable: Chrome was not reached; the text says why and what to do.
        ChromeUnauthorized: a token is missing or wrong.
        AddressNotAllowed: the allow-list does not have the address.
    """
    # Asked anew each time: the path has an id that belongs to one Chrome process.
    version = await chrome_version(endpoint, settings.http)
    websocket = await _open_websocket(endpoint, version, settings, controller)
    connection = CdpConnection(websocket, version, max_pending=settings.max_pending, on_answer=settings.on_answer)
    reader = asyncio.create_task(connection.read(), name=f"cdp-read-{join_host_port(endpoint.host, endpoint.port)}")
    try:
        yield connection
    finally:
        await connection.close()
        await asyncio.gather(reader, return_exceptions=True)
