"""One object that watches all sockets of a media worker."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest

from gateway.media.pace import Pace
from gateway.media.ports import bind_udp
from gateway.media.sockets import SocketPoll

pytestmark = pytest.mark.integration


@pytest.fixture
def pace() -> Pace:
    return Pace(batch=4, least_s=0.002, most_s=0.004)


@pytest.fixture
async def poll(pace: Pace) -> AsyncIterator[SocketPoll]:
    made = SocketPoll(pace)
    yield made
    made.close()


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(bind_udp(socket.AF_INET, "127.0.0.1", 0)) for _ in range(4)]


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
    taken = Taken(poll, sockets)
    send(sockets, b"1", b"2", b"3")
    await taken.until(12)
    assert taken.packets == [[b"1", b"2", b"3"]] * 4


async def test_packets_that_are_there_together_are_taken_in_one_turn(
    poll: SocketPoll, sockets: list[socket.socket]
) -> None:
    taken = Taken(poll, sockets)
    send(sockets, b"1")
    await taken.until(4)
    assert len(set(taken.turns)) == 1


async def test_under_load_packets_are_taken_at_instants_until_there_are_few_again(
    poll: SocketPoll, pace: Pace, sockets: list[socket.socket]
) -> None:
    taken = Taken(poll, sockets)
    sent = 0
    async with asyncio.timeout(30):
        while not pace.period_s:
            send(sockets, b"x")
            sent += len(sockets)
            await taken.until(sent)
        while pace.period_s:  # nothing comes any more but one packet now and then
            await asyncio.sleep(0.05)
            send(sockets[:1], b"x")
            sent += 1
            await taken.until(sent)
        for _ in range(3):  # and the loop sees them itself
            send(sockets[:1], b"x")
            sent += 1
            await taken.until(sent)


async def test_between_two_instants_there_is_the_period_and_the_loop_goes_on(
    poll: SocketPoll, pace: Pace, sockets: list[socket.socket]
) -> None:
    taken = Taken(poll, sockets)
    pace.count(1000, 0.2)  # 5,000 a second
    assert pace.period_s == 0.002
    send(sockets, b"1")
    await taken.until(4)
    send(sockets, b"2", b"3")
    await taken.until(12)
    first, second, third = sorted(set(taken.turns))
    assert second - first >= pace.period_s
    assert third - second >= pace.period_s


async def test_closing_while_packets_gather_ends_it(poll: SocketPoll, pace: Pace, sockets: list[socket.socket]) -> None:
    taken = Taken(poll, sockets)
    pace.count(1000, 0.2)
    send(sockets, b"1")
    await taken.until(4)
    poll.close()
    send(sockets, b"2")
    await asyncio.sleep(0.02)
    assert taken.packets == [[b"1"]] * 4


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

    taken = Taken(poll, sockets[1:])
    poll.watch(sockets[0], fail)
    send(sockets, b"1")
    await taken.until(3)
    async with asyncio.timeout(5):
        while not told:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert [type(one) for one in told] == [ZeroDivisionError]
    poll.close()
    poll.close()
