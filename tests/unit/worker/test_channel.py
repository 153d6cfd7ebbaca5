"""Requests and words between two ends of a channel, over a wire that the test holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from gateway.domain.errors import ConfigError, PonteError, Unavailable
from gateway.worker.channel import CROWDED_BYTES, STUCK_BYTES, Channel
from gateway.worker.wire import frame

pytestmark = pytest.mark.unit


class Wire(asyncio.Transport):
    """Gives what is written to the other end, in the same turn of the loop or never."""

    def __init__(self) -> None:
        super().__init__()
        self.far: Channel | None = None
        self.unsent_bytes = 0
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.far is not None:
            asyncio.get_running_loop().call_soon(self.far.data_received, bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        pass


class Ends:
    """Both ends; what `far` is asked is answered by `handlers`."""

    def __init__(self, **handlers: Callable[..., Any]) -> None:
        self.near = Channel({}, name="The far end")
        self.far = Channel(handlers, name="The near end")
        self.wire, self.back = Wire(), Wire()
        self.wire.far, self.back.far = self.far, self.near
        self.near.connection_made(self.wire)
        self.far.connection_made(self.back)


async def later(value: int) -> int:
    await asyncio.sleep(0)
    return value + 1


async def never() -> None:
    await asyncio.Event().wait()


async def test_what_is_asked_is_answered() -> None:
    ends = Ends(now=lambda value, *, more: value + more, later=later)
    assert await ends.near.ask("now", 2, more=3, timeout_s=1) == 5
    assert await asyncio.gather(*(ends.near.ask("later", n, timeout_s=1) for n in range(5))) == [1, 2, 3, 4, 5]


async def test_words_come_in_order_and_are_not_answered() -> None:
    heard: list[object] = []
    ends = Ends(word=heard.append, later=later)
    for n in range(5):
        ends.near.tell("word", n)
    ends.near.mention("word", "last")
    assert await ends.near.ask("later", 0, timeout_s=1) == 1
    assert heard == [0, 1, 2, 3, 4, "last"]


async def test_errors_come_back() -> None:
    def refuse() -> None:
        raise ConfigError("no", "codecs")

    def crash() -> None:
        raise ZeroDivisionError

    async def crash_later() -> None:
        raise ZeroDivisionError

    ends = Ends(refuse=refuse, crash=crash, crash_later=crash_later)
    with pytest.raises(ConfigError, match="no") as refused:
        await ends.near.ask("refuse", timeout_s=1)
    assert refused.value.field == "codecs"
    for verb in ("crash", "crash_later", "unknown"):
        with pytest.raises(PonteError, match="log says more"):
            await ends.near.ask(verb, timeout_s=1)
    ends.near.tell("crash")
    assert await Ends(now=lambda: 1).near.ask("now", timeout_s=1) == 1


async def test_who_gives_up_ends_the_work() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await never()
        finally:
            ended.set()

    ends = Ends(work=work)
    with pytest.raises(Unavailable, match="in time"):
        await ends.near.ask("work", timeout_s=0.001)
    await asyncio.wait_for(ended.wait(), 5)

    ended.clear()
    asking = asyncio.ensure_future(ends.near.ask("work", timeout_s=60))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.wait_for(ended.wait(), 5)


async def test_what_is_to_be_done_whole_is_done_whoever_waits() -> None:
    done = asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0)
        done.set()

    ends = Ends(work=work)
    asking = asyncio.ensure_future(ends.near.ask("work", timeout_s=60, whole=True))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await asyncio.wait_for(done.wait(), 5)

    done.clear()
    ends.near.tell("work")
    await asyncio.wait_for(done.wait(), 5)


async def test_the_end_of_the_channel_ends_all() -> None:
    ends = Ends(work=never)
    asking = asyncio.ensure_future(ends.near.ask("work", timeout_s=60))
    await asyncio.sleep(0)
    ends.near.connection_lost(None)
    with pytest.raises(Unavailable, match="went away"):
        await asking
    with pytest.raises(Unavailable):
        ends.near.tell("word")
    with pytest.raises(Unavailable):
        await ends.near.ask("word", timeout_s=1)
    ends.near.mention("word")
    assert ends.near.spared == 1
    ends.far.connection_lost(None)
    await ends.far.close()


async def test_who_does_not_read_is_spared_and_then_given_up() -> None:
    heard: list[object] = []
    ends = Ends(word=heard.append)
    ends.wire.unsent_bytes = CROWDED_BYTES + 1
    ends.near.mention("word", 1)
    ends.near.tell("word", 2)
    await asyncio.sleep(0)
    assert (heard, ends.near.spared) == ([2], 1)
    ends.wire.unsent_bytes = STUCK_BYTES + 1
    with pytest.raises(Unavailable, match="keep up"):
        ends.near.tell("word", 3)
    assert ends.wire.aborted


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", frame([1]), frame({"v": "word"}), b"\x00\x00\x00\x01{"])
async def test_nonsense_ends_the_channel(data: bytes) -> None:
    ends = Ends()
    ends.far.data_received(data)
    assert ends.back.aborted


async def test_the_words_of_the_log_know_the_call() -> None:
    seen: list[dict[str, Any]] = []

    async def later() -> None:
        seen.append(structlog.contextvars.get_contextvars())

    ends = Ends(now=lambda: seen.append(structlog.contextvars.get_contextvars()), later=later)
    with structlog.contextvars.bound_contextvars(call_id="c1"):
        await ends.near.ask("now", timeout_s=1)
        await ends.near.ask("later", timeout_s=1)
    ends.near.tell("now")
    await asyncio.sleep(0)
    assert [one.get("call_id") for one in seen] == ["c1", "c1", None]
