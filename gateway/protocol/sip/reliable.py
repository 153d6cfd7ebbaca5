"""Reliable provisional responses (RFC 3262), as the side that sends them and as the side that acknowledges them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sipmessage import Response

from gateway.domain.errors import RemoteProtocolError
from gateway.protocol.sip.content import option_tags
from gateway.protocol.sip.message import IncomingRequest, IncomingResponse
from gateway.protocol.sip.text import parse_int
from gateway.protocol.sip.timers import Timer, TimerCallback, TimerHeap, Timers
from gateway.protocol.sip.transactions import ServerTransaction

RELIABLE: Final = "100rel"
_MOST: Final = 2**31 - 1  # of an RSeq


class ReliableProvisionals:
    """The reliable provisional answers to one INVITE, one at a time (section 3).

    Args:
        transaction: the INVITE's.
        timers: timer values.
        heap: where the timers live.
        jitter: gives a number from 0 to 1, for the first RSeq.
        never_acknowledged: called when no PRACK came within 64*T1.
    """

    def __init__(
        self, transaction: ServerTransaction, timers: Timers, heap: TimerHeap, jitter: Callable[[], float],
        never_acknowledged: TimerCallback,
    ) -> None:  # fmt: skip
        self._transaction = transaction
        self._timers = timers
        self._heap = heap
        self._rseq = int(jitter() * (_MOST // 2))
        self._never = never_acknowledged
        self._open = False
        self._waiting: Response | None = None
        self._data = b""
        self._interval = timers.t1_s
        self._repeat = Timer(0.0, self._again)  # these two are in no heap: there is always one to cancel
        self._give_up = Timer(0.0, never_acknowledged)

    def send(self, response: Response, now: float) -> None:
        """Send a provisional answer; while another one waits for its PRACK, this one waits too."""
        if self._open:
            self._waiting = response
            return
        self._rseq += 1
        response.headers.set("RSeq", str(self._rseq))
        response.headers.set("Require", RELIABLE)
        self._data = self._transaction.respond(response, now)
        self._open = True
        self._interval = self._timers.t1_s
        self._repeat = self._heap.at(now + self._interval, self._again)
        self._give_up = self._heap.at(now + self._timers.give_up_s, self._never)

    def _again(self, now: float) -> None:
        """Repeat it, over reliable transports too: a proxy further on may lose it (section 3)."""
        self._transaction.transmit(self._data)
        self._interval *= 2
        self._repeat = self._heap.at(now + self._interval, self._again)

    def acknowledge(self, prack: IncomingRequest, now: float) -> bool:
        """Take a PRACK; False when it acknowledges nothing that waits.

        Raises:
            RemoteProtocolError: RAck is missing or malformed.
        """
        rseq, cseq, method = parse_rack(prack.header("RAck"))
        if not self._open or (rseq, cseq, method) != (self._rseq, self._transaction.request.cseq, "INVITE"):
            return False
        self.stop()
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not self._transaction.answered:
            self.send(waiting, now)
        return True

    def quiet(self) -> None:
        """Repeat no more, because there is a final answer; a PRACK that is under way is still taken."""
        self._repeat.cancel()
        self._give_up.cancel()

    def stop(self) -> None:
        """Wait for no PRACK any more."""
        self.quiet()
        self._open = False


def parse_rack(value: str | None) -> tuple[int, int, str]:
    """Read RAck: the RSeq, and CSeq number and method of the INVITE.

    Raises:
        RemoteProtocolError: it is missing or malformed.
    """
    parts = (value or "").split()
    if len(parts) != 3:
        raise RemoteProtocolError("RAck is missing or malformed")
    return parse_int(parts[0], "RSeq"), parse_int(parts[1], "CSeq"), parts[2]


def reliable_number(response: IncomingResponse) -> int | None:
    """Return the RSeq of a provisional answer that wants a PRACK, else None (section 4)."""
    try:
        if response.status == 100 or RELIABLE not in option_tags(response, "Require"):
            return None
        return parse_int(response.header("RSeq") or "", "RSeq", _MOST)
    except RemoteProtocolError:
        return None
