"""Requests and words over a stream between two processes of ours, which both sides may send.

A request is answered once, within its time. A word is not answered, and its sender never waits. What comes is handled
in the order in which it was sent; what has to wait for something goes on beside that, and others go by it.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final, cast

import structlog

from gateway.domain.errors import PonteError, Unavailable
from gateway.domain.finish import finish
from gateway.worker.wire import Deframer, frame, pack, pack_error, unpack, unpack_error

Handler = Callable[..., Any]
"""What a verb does: a function, or a coroutine function where it has to wait."""

MAX_WAITING: Final = 4096  # requests on either side: several for each call that a machine can carry
STUCK_BYTES: Final = 4_194_304  # unsent: the other side has read nothing for thousands of messages
CROWDED_BYTES: Final = 262_144  # unsent: what can be spared is left out, until the other side reads on


class Channel(asyncio.Protocol):
    """One end.

    Args:
        handlers: by verb; may be changed while the channel is up.
        name: the other side, for sentences.
    """

    def __init__(self, handlers: Mapping[str, Handler], *, name: str) -> None:
        self.closed = asyncio.Event()
        self.spared = 0  # words that were left out
        self._handlers = handlers
        self._name = name
        self._transport: asyncio.WriteTransport | None = None
        self._deframer = Deframer()
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._answering: dict[int, asyncio.Task[None]] = {}  # by the number of the request; words below zero
        self._words = itertools.count(-1, -1)
        self._log = structlog.get_logger("ponte.worker")

    # what is sent

    def tell(self, verb: str, *args: object, **named: object) -> None:
        """Say something that is not answered.

        Raises:
            Unavailable: the other side is gone.
        """
        self._send({"v": verb, **_packed(args, named)})

    def mention(self, verb: str, *args: object) -> None:
        """Say something that may get lost: where the other side is gone, or does not keep up."""
        transport = self._transport
        if transport is None or self.closed.is_set() or transport.get_write_buffer_size() > CROWDED_BYTES:
            self.spared += 1
            return
        self._send({"v": verb, **_packed(args, {})})

    async def ask(self, verb: str, *args: object, timeout_s: float, whole: bool = False, **named: object) -> Any:
        """Return the answer.

        Args:
            verb: what is asked.
            args: of the verb.
            timeout_s: for the answer.
            whole: the other side is to do it to the end, also where the answer is not waited for.
            named: of the verb.

        Raises:
            Unavailable: the other side is gone, or did not answer in time.
            PonteError: it answered so.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable(f"{self._name} has too much to answer")
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._send({"q": number, "v": verb, **_packed(args, named)})
            async with asyncio.timeout(timeout_s):
                return await answer
        except BaseException as error:
            if not whole and (not answer.done() or answer.cancelled()):
                with contextlib.suppress(Unavailable):
                    self._send({"c": number})
            if isinstance(error, TimeoutError):
                raise Unavailable(f"{self._name} did not answer in time") from None
            raise
        finally:
            del self._waiting[number]

    def _send(self, message: dict[str, Any]) -> None:
        transport = self._transport
        if transport is None or self.closed.is_set():
            raise Unavailable(f"{self._name} is not there")
        if transport.get_write_buffer_size() > STUCK_BYTES:
            self._log.error("channel_stuck")
            transport.abort()
            raise Unavailable(f"{self._name} does not keep up")
        transport.write(frame(message))

    # what comes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        try:
            for message in self._deframer.feed(data):
                self._take(message)
        except (ValueError, KeyError, TypeError, RecursionError):
            self._log.exception("channel_broken")
            if self._transport is not None:
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.closed.set()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(Unavailable(f"{self._name} went away"))
        for task in self._answering.values():
            task.cancel()

    def _take(self, message: Any) -> None:
        if not isinstance(message, dict):
            raise ValueError("a message is no object")
        if "r" in message:
            answer = self._waiting.get(message["r"])
            if answer is not None and not answer.done():
                if "f" in message:
                    answer.set_exception(unpack_error(message["f"]))
                else:
                    answer.set_result(unpack(message["o"]))
        elif "c" in message:
            task = self._answering.get(message["c"])
            if task is not None:
                task.cancel()
        else:
            with structlog.contextvars.bound_contextvars(**message.get("x", {})):
                self._handle(message.get("q"), message["v"], unpack(message["a"]), unpack(message["k"]))

    def _handle(self, number: int | None, verb: str, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        try:
            result = self._handlers[verb](*args, **named)
        except PonteError as error:
            self._fail(number, verb, error)
        except Exception as error:
            self._log.exception("verb_failed", verb=verb)
            self._fail(number, verb, error)
        else:
            if inspect.iscoroutine(result):
                self._answer_later(number, verb, result)
            elif number is not None:
                self._reply({"r": number, "o": pack(result)})

    def _answer_later(self, number: int | None, verb: str, work: Coroutine[Any, Any, Any]) -> None:
        if len(self._answering) >= MAX_WAITING:
            work.close()
            self._log.error("channel_crowded", verb=verb)
            if number is not None:
                self._reply({"r": number, "f": pack_error(Unavailable("The media worker has too much to do"))})
            return
        task = asyncio.get_running_loop().create_task(self._answer(number, verb, work), name=verb)
        number = next(self._words) if number is None else number
        self._answering[number] = task
        task.add_done_callback(partial(self._answered, number, work))

    def _answered(self, number: int, work: Coroutine[Any, Any, Any], _: asyncio.Task[None]) -> None:
        del self._answering[number]
        work.close()  # of one that was cancelled before it began

    async def _answer(self, number: int | None, verb: str, work: Coroutine[Any, Any, Any]) -> None:
        try:
            result = await work
        except PonteError as error:
            self._fail(number, verb, error)
        except Exception as error:
            self._log.exception("verb_failed", verb=verb)
            self._fail(number, verb, error)
        else:
            if number is not None:
                self._reply({"r": number, "o": pack(result)})

    def _fail(self, number: int | None, verb: str, error: Exception) -> None:
        if number is not None:
            self._reply({"r": number, "f": pack_error(error)})
        elif isinstance(error, PonteError):
            self._log.info("word_not_taken", verb=verb, code=error.code, error=str(error))

    def _reply(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(Unavailable):  # nobody is there who wants it
            self._send(message)

    async def close(self) -> None:
        """Close the stream, when what was sent is written, and end what is still being answered."""
        await finish(self._close())

    async def _close(self) -> None:
        tasks = list(self._answering.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._transport is not None:
            self._transport.close()


def _packed(args: tuple[object, ...], named: dict[str, object]) -> dict[str, Any]:
    message: dict[str, Any] = {"a": pack(args), "k": pack(named)}
    context = {key: value for key, value in structlog.contextvars.get_contextvars().items() if isinstance(value, str)}
    if context:
        message["x"] = context
    return message
