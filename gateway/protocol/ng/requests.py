"""Requests to rtpengine and their answers, over datagrams that may be lost.

Each request has a cookie of its own, and keeps it when it is sent again: rtpengine answers a cookie that it has seen
within the last seconds with what it answered before, so that nothing is done twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.domain.errors import PonteError, RemoteProtocolError
from gateway.protocol.ng.bencode import Value, decode, encode
from gateway.protocol.ng.errors import MediaServerSilent, error_of

Answer = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class NgTiming:
    """How often a request is sent.

    Attributes:
        first_s: until it is sent a second time; the pauses double.
        longest_s: between two times at most.
        give_up_s: after which no answer is expected. rtpengine remembers a cookie for 5 s at least.
    """

    first_s: float = 0.25
    longest_s: float = 1.0
    give_up_s: float = 4.0


@dataclass(frozen=True, slots=True)
class Transmit:
    """A datagram to send."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to a request, which says yes."""

    request: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class Failed:
    """A request that came to nothing."""

    request: int
    error: PonteError


@dataclass(slots=True)
class _Open:
    request: int
    data: bytes
    since_s: float
    pause_s: float
    next_s: float


class NgRequests:
    """The requests that are open. After each input drain `poll`.

    Args:
        prefix: of the cookies, which nobody else uses at the same rtpengine; random, without a space.
        timing: of retransmissions.
    """

    def __init__(self, prefix: str, timing: NgTiming | None = None) -> None:
        self._prefix = prefix
        self._timing = timing or NgTiming()
        self._count = 0
        self._open: dict[bytes, _Open] = {}
        self._out: list[Transmit | Answered | Failed] = []

    def request(self, command: Mapping[str, Value], now_s: float) -> int:
        """Send *command*; its number comes back with the answer."""
        self._count += 1
        cookie = f"{self._prefix}_{self._count}".encode()
        data = cookie + b" " + encode(command)
        pause = self._timing.first_s
        self._open[cookie] = _Open(self._count, data, now_s, pause, now_s + pause)
        self._out.append(Transmit(data))
        return self._count

    def forget(self, request: int) -> None:
        """Wait for the answer of *request* no longer."""
        self._open = {cookie: one for cookie, one in self._open.items() if one.request != request}

    def receive(self, data: bytes) -> None:
        """Take a datagram. What answers nothing, as a second answer does, changes nothing."""
        cookie, _, body = data.partition(b" ")
        one = self._open.get(cookie)
        if one is None:
            return
        del self._open[cookie]
        try:
            answer = decode(body)
            if not isinstance(answer, Mapping):
                raise RemoteProtocolError("An ng answer that is no dictionary")
        except RemoteProtocolError as malformed:
            self._out.append(Failed(one.request, malformed))
            return
        error = error_of(answer)
        self._out.append(Answered(one.request, answer) if error is None else Failed(one.request, error))

    def next_timeout(self) -> float | None:
        """Return the instant of the next call of `handle_timeout`, in the caller's seconds."""
        return min((one.next_s for one in self._open.values()), default=None)

    def handle_timeout(self, now_s: float) -> None:
        """Send again, or give up, what is due."""
        timing = self._timing
        for cookie, one in list(self._open.items()):
            if one.next_s > now_s:
                continue
            if one.next_s >= one.since_s + timing.give_up_s:
                del self._open[cookie]
                self._out.append(Failed(one.request, MediaServerSilent("rtpengine does not answer")))
                continue
            one.pause_s = min(one.pause_s * 2, timing.longest_s)
            one.next_s = min(now_s + one.pause_s, one.since_s + timing.give_up_s)
            self._out.append(Transmit(one.data))

    def poll(self) -> list[Transmit | Answered | Failed]:
        """Return what is to be done, once."""
        out, self._out = self._out, []
        return out
