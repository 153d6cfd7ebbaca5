"""One object that watches all sockets of a media worker."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest

from gateway.media.ports import bind_udp
from gateway.media.sockets import SocketPoll
from gateway.media.wakers import CYCLE_S

pytestmark = pytest.mark.integration

_MANY = 40  # sockets: of 20 calls


@pytest.fixture
async def poll() -> AsyncIterator[SocketPoll]:
    made = SocketPoll(0.004)
    yield made
    made.close()


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(bind_udp(socket.AF_INET, "127.0.0.1", 0)) for _ in range(_MANY)]


class Taken:
    """What was read, by socket, with the instants."""

    def __init__(self, poll: SocketPoll, sockets: list[socket.socket]) -> None:
        self.packets: list[list[bytes]] = [[] for _ in sockets]
        self.turns: list[float] = []
        for index, opened in enumerate(sockets):
            poll.watch(opened, lambda now_s, index=index, opened=opened: self._take(index, opened, now_s))  # type: ignore[misc]

    def _take(self, index: int, opened: socket.socket, now_s: float) -> None:
        self.packets[index].append(opened.recv(100))
        self.turns.append(now_s)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.turns) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.001)


def send(sockets: list[socket.socket], *texts: bytes) -> None:
    for text in texts:
        for to in sockets:
            sockets[0].sendto(text, to.getsockname())


async def test_each_packet_of_each_socket_is_told_in_order(poll: SocketPoll, sockets: list[socket.socket]) -> None:
    taken = Taken(poll, sockets[:4])
    send(sockets[:4], b"1", b"2", b"3")
    await taken.until(12)
    assert taken.packets == [[b"1", b"2", b"3"]] * 4


async def test_packets_that_are_there_together_are_taken_in_one_turn(
    poll: SocketPoll, sockets: list[socket.socket]
) -> None:
    taken = Taken(poll, sockets[:4])
    send(sockets[:4], b"1")
    await taken.until(4)
    assert len(set(taken.turns)) == 1


async def stream(sockets: list[socket.socket], seconds: float) -> int:
    """Send each socket a packet every 20 ms, one after the other; return how many were sent."""
    begin_s = time.monotonic()
    sent = 0
    while (passed_s := time.monotonic() - begin_s) < seconds:
        while sent < passed_s / CYCLE_S * len(sockets):
            sockets[0].sendto(b"x", sockets[sent % len(sockets)].getsockname())
            sent += 1
        await asyncio.sleep(0.0002)
    return sent


async def test_many_streams_wake_the_loop_up_less_often_than_packets_come(
    poll: SocketPoll, sockets: list[socket.socket]
) -> None:
    taken = Taken(poll, sockets)
    sent = await stream(sockets, 0.1)  # until it is known when packets come
    await taken.until(sent)
    taken.turns.clear()
    sent = await stream(sockets, 0.7)
    await taken.until(sent)
    assert len(set(taken.turns)) < 0.6 * sent


async def test_who_stays_away_delays_nobody_for_good(poll: SocketPoll, sockets: list[socket.socket]) -> None:
    taken = Taken(poll, sockets)
    sent = await stream(sockets, 0.1)
    await taken.until(sent)
    for opened in sockets:  # each alone: most of them wake nobody up
        send([opened], b"late")
        sent += 1
        await taken.until(sent)
    assert all(packets[-1] == b"late" for packets in taken.packets)


async def test_streams_that_come_and_go_while_packets_gather_are_heard(
    poll: SocketPoll, sockets: list[socket.socket]
) -> None:
    old, new = sockets[:-2], sockets[-2:]
    taken = Taken(poll, old)
    sent = await stream(old, 0.1)
    await taken.until(sent)
    heard = Taken(poll, new)
    for opened in old[::2]:
        poll.forget(opened)
    send(new, b"1", b"2")
    await heard.until(4)
    sent = len(taken.turns) + await stream(old[1::2], 1.2)  # past the next look at when packets come
    await taken.until(sent)
    assert heard.packets == [[b"1", b"2"]] * 2


async def test_closing_while_packets_gather_ends_it(poll: SocketPoll, sockets: list[socket.socket]) -> None:
    taken = Taken(poll, sockets)
    sent = await stream(sockets, 0.1)
    await taken.until(sent)
    poll.close()
    send(sockets, b"2")
    await asyncio.sleep(0.02)
    assert len(taken.turns) == sent


async def test_a_socket_that_was_forgotten_is_not_read_though_it_was_ready(
    poll: SocketPoll, sockets: list[socket.socket]
) -> None:
    first, second = sockets[:2]
    read: list[str] = []

    def take(name: str, own: socket.socket, other: socket.socket) -> None:
        own.recv(100)
        read.append(name)
        poll.forget(other)

    poll.watch(first, lambda now_s: take("first", first, second))
    poll.watch(second, lambda now_s: take("second", second, first))
    send([first, second], b"1")
    await asyncio.sleep(0.05)
    assert len(read) == 1
    poll.forget(first)
    poll.forget(second)  # once more: nothing


async def test_a_packet_that_cannot_be_handled_costs_the_others_nothing(
    poll: SocketPoll, sockets: list[socket.socket]
) -> None:
    told: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["exception"]))

    def fail(now_s: float) -> None:
        sockets[0].recv(100)
        raise ZeroDivisionError

    taken = Taken(poll, sockets[1:4])
    poll.watch(sockets[0], fail)
    send(sockets[:4], b"1")
    await taken.until(3)
    async with asyncio.timeout(5):
        while not told:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert [type(one) for one in told] == [ZeroDivisionError]
    poll.close()
    poll.close()
