"""Which SIP messages a call's dialog sent and got, for people: start lines alone. No sockets, no clock.

It looks at the bytes as they pass, so that the core need not know of it. Method, status and CSeq are taken of a
message, and of its body only whether and which way it offers sound: none of that is personal. Phrases are those of the
RFCs and never the peer's own, who may write a name into it.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from gateway.domain.trace import HeadAndTail, SipLine
from gateway.protocol.sip.message import PHRASES
from gateway.protocol.sip.transactions import KNOWN_METHODS

_CALL_ID: Final = re.compile(rb"^(?:call-id|i)[ \t]*:[ \t]*(\S{1,256})[ \t]*\r?$", re.I | re.M)
_CSEQ: Final = re.compile(rb"^cseq[ \t]*:[ \t]*([0-9]{1,10})[ \t]+([A-Za-z]{1,16})[ \t]*\r?$", re.I | re.M)
_CAUSE: Final = re.compile(
    rb"^reason[ \t]*:[ \t]*(Q\.850|SIP)[ \t]*;[^\r\n]{0,200}?cause[ \t]*=[ \t]*([0-9]{1,3})", re.I | re.M
)
_DIGEST: Final = re.compile(rb"^(?:proxy-)?authorization[ \t]*:", re.I | re.M)
_WAY: Final = re.compile(rb"^a=(sendonly|recvonly|inactive)\r?$", re.M)
_REQUEST: Final = re.compile(rb"([A-Z]{3,9}) \S+ SIP/2\.0\r?$", re.M)
_STATUS: Final = re.compile(rb"SIP/2\.0 ([1-6][0-9]{2})(?: |\r?$)", re.M)


@dataclass(frozen=True, slots=True)
class Head:
    """What is looked at of a message."""

    call_id: str
    start: str  # method of a request, status of a response
    cseq: int
    method: str  # of the CSeq
    detail: str

    @property
    def text(self) -> str:
        """The start line for people."""
        return f"{self.start} {PHRASES.get(int(self.start), '')}".rstrip() if self.start.isdigit() else self.start

    @property
    def opens(self) -> bool:
        """Whether it belongs to an INVITE, with which a call begins."""
        return self.method in {"INVITE", "ACK"}


def read_head(data: bytes) -> Head | None:
    """Return what matters of a message, None for what is none."""
    head, _, body = data.partition(b"\r\n\r\n")
    start = _REQUEST.match(head) or _STATUS.match(head)
    call_id, cseq = _CALL_ID.search(head), _CSEQ.search(head)
    if start is None or call_id is None or cseq is None:
        return None
    word, method = start[1].decode(), cseq[2].decode().upper()
    if method not in KNOWN_METHODS or not (word in KNOWN_METHODS or word.isdigit()):
        return None
    parts = [method] if word.isdigit() else []
    if b"\nm=" in body:
        parts.append(f"SDP {way[1].decode()}" if (way := _WAY.search(body)) else "SDP")
    if word == "INVITE" and _DIGEST.search(head):
        parts.append("with credentials")
    parts += [f"{cause[1].decode().upper()} cause {int(cause[2])}" for cause in _CAUSE.finditer(head)][:2]
    return Head(call_id[1].decode("utf-8", "replace"), word, int(cseq[1]), method, ", ".join(parts))


class MessageLog:
    """The messages of one Call-ID.

    Args:
        most: that are kept.

    Attributes:
        on_new: told of each message that is not the same as an earlier one.
    """

    def __init__(self, most: int = 150) -> None:
        self._lines: HeadAndTail[SipLine] = HeadAndTail(most)
        self.on_new: Callable[[], None] = lambda: None

    def add(self, at_s: float, sent: bool, head: Head) -> None:
        """Take a message; one that is the same as an earlier one is counted with it."""
        key = (head.start, str(head.cseq), head.method)
        for line in self._lines:
            if line.sent is sent and line.key == key:
                line.times += 1
                return
        self._lines.add(SipLine(at_s, sent, key, head.text, head.detail))
        self.on_new()

    def __iter__(self) -> Iterator[SipLine]:
        return iter(self._lines)


class MessageLogs:
    """The logs of a stack's calls.

    The INVITE comes before it is known whose call it is, and what ends a call after the call is over; so the last few
    messages of no call are kept, and the logs of the last few calls go on.

    Args:
        recent: messages of no call that are kept.
        closed: calls that are over whose logs go on.
    """

    def __init__(self, recent: int = 64, closed: int = 64) -> None:
        self._closed_most = closed
        self._open: dict[str, MessageLog] = {}
        self._closed: OrderedDict[str, MessageLog] = OrderedDict()
        self._recent: deque[tuple[float, bool, Head]] = deque(maxlen=recent)

    def open(self, call_id: str, log: MessageLog) -> None:
        """Have the messages of a call that begins in *log*, and what was seen of it before."""
        self._open[call_id] = log
        self._closed.pop(call_id, None)
        for at_s, sent, head in self._recent:
            if head.call_id == call_id:
                log.add(at_s, sent, head)

    def close(self, call_id: str) -> None:
        """Note that a call is over."""
        log = self._open.pop(call_id, None)
        if log is not None:
            self._closed[call_id] = log
            if len(self._closed) > self._closed_most:
                self._closed.popitem(last=False)

    def see(self, at_s: float, data: bytes, *, sent: bool) -> None:
        """Look at a message that was sent or that came, whatever it is.

        Args:
            at_s: monotonic instant.
            data: the whole message.
            sent: whether we sent it.
        """
        found = _CALL_ID.search(data)
        if found is None:
            return
        call_id = found[1].decode("utf-8", "replace")
        log = self._open.get(call_id) or self._closed.get(call_id)
        if log is None and b"INVITE" not in data and not data.startswith(b"ACK "):
            return
        head = read_head(data)
        if head is None:
            return
        if log is not None:
            log.add(at_s, sent, head)
        elif head.opens:
            self._recent.append((at_s, sent, head))
