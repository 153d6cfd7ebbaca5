"""Session timers (RFC 4028): how long a call may live without a refresh, and which side sends it.

A peer that knows no session timers is asked by OPTIONS in the dialog instead: a phone that died without a BYE answers
neither, and a re-INVITE that nobody asked for makes some phones drop the call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sipmessage import Headers

from gateway.domain.errors import RemoteProtocolError
from gateway.protocol.sip.content import option_tags
from gateway.protocol.sip.message import IncomingRequest, IncomingResponse
from gateway.protocol.sip.text import parse_int, parse_params, split_list
from gateway.protocol.sip.timers import Timer, TimerCallback, TimerHeap

TIMER: Final = "timer"
LEAST_INTERVAL_S: Final = 90  # section 4: nothing shorter is valid
_MOST_LESSONS: Final = 5  # answers of 422 that we follow in a call; each proxy on the way may have its own Min-SE


@dataclass(frozen=True, slots=True)
class SessionExpires:
    """A Session-Expires value (section 4).

    Attributes:
        interval_s: how long the session lives without a refresh.
        refresher: ``uac`` or ``uas`` of the transaction that carries it; empty: left to the UAS.
    """

    interval_s: int
    refresher: str = ""

    def __str__(self) -> str:
        return f"{self.interval_s};refresher={self.refresher}" if self.refresher else str(self.interval_s)


def parse_session_expires(value: str | None) -> SessionExpires | None:
    """Read a Session-Expires value; None when there is none that makes sense: a call does not fail by it."""
    try:
        number, *params = split_list(value or "", ";")
        refresher = (parse_params(params).get("refresher") or "").lower()
        return SessionExpires(parse_int(number, "Session-Expires"), refresher if refresher in {"uac", "uas"} else "")
    except RemoteProtocolError:
        return None


def parse_min_se(value: str | None, floor_s: int = LEAST_INTERVAL_S) -> int:
    """Read a Min-SE value; *floor_s* when there is none that makes sense, or a lower one."""
    try:
        return max(floor_s, parse_int((value or "").partition(";")[0], "Min-SE"))
    except RemoteProtocolError:
        return floor_s


def knows_timers(message: IncomingRequest) -> bool:
    """Whether who sent *message* has session timers."""
    try:
        return TIMER in option_tags(message, "Supported")
    except RemoteProtocolError:
        return False


def too_brief(request: IncomingRequest, min_se_s: int) -> list[tuple[str, str]]:
    """Return the headers of a 422 to an INVITE or UPDATE (section 9), empty where none is called for."""
    asked = parse_session_expires(request.header("Session-Expires"))
    if asked is not None and asked.interval_s < min_se_s and knows_timers(request):
        return [("Min-SE", str(min_se_s))]
    return []


class SessionTimer:
    """The session timer of one call.

    Args:
        heap: where its timers live.
        interval_s: the interval that we ask for; 0: none, and peers that have no timers are not asked either.
        min_se_s: the shortest interval that we take ourselves.
        refresh: called when the session is to be refreshed.
        probe: called when a peer without session timers is to be asked whether it is alive.
        expired: called when no refresh came in time.

    Attributes:
        interval_s: the agreed interval; 0 while there is none.
        we_refresh: whether refreshing is ours.
    """

    def __init__(
        self, heap: TimerHeap, interval_s: int, min_se_s: int, *, refresh: TimerCallback, probe: TimerCallback,
        expired: TimerCallback,
    ) -> None:  # fmt: skip
        self.interval_s = 0
        self.we_refresh = False
        self._heap = heap
        self._ours_s = max(interval_s, min_se_s) if interval_s else 0
        self._floor_s = min(min_se_s, LEAST_INTERVAL_S)
        self._least_s = self._floor_s  # what the peer's side taught us by 422
        self._lessons = 0
        self._refresh = refresh
        self._probe = probe
        self._expired = expired
        self._deadline = Timer(0.0, expired)  # these two are in no heap: there is always one to cancel
        self._next = Timer(0.0, refresh)

    # requests of ours

    def offer(self, headers: Headers) -> None:
        """Ask for a timer in an INVITE or UPDATE of ours (section 7.1)."""
        asked = self.interval_s or self._ours_s
        if not asked:
            return
        refresher = ("uac" if self.we_refresh else "uas") if self.interval_s else ""
        headers.set("Session-Expires", str(SessionExpires(max(asked, self._least_s), refresher)))
        if self._least_s > self._floor_s:
            headers.set("Min-SE", str(self._least_s))

    def learn(self, response: IncomingResponse) -> bool:
        """Take a 422 (section 7.3); False when it asks for nothing new, so that trying again is no use."""
        least = parse_min_se(response.header("Min-SE"), self._floor_s)
        if least <= self._least_s or self._lessons >= _MOST_LESSONS:
            return False
        self._lessons += 1
        self._least_s = least
        return True

    def agree(self, response: IncomingResponse, now: float) -> None:
        """Take the 2xx to an INVITE or UPDATE of ours (section 7.2)."""
        agreed = parse_session_expires(response.header("Session-Expires"))
        if agreed is None:
            self.ask_later(now)
        else:
            self._start(max(agreed.interval_s, self._floor_s), agreed.refresher != "uas", now)

    # requests of the peer

    def accept(self, request: IncomingRequest, headers: Headers, now: float) -> None:
        """Write our 2xx to an INVITE or UPDATE of the peer and start the timer (section 9)."""
        asked = parse_session_expires(request.header("Session-Expires"))
        knows = knows_timers(request)
        if asked is None and not (knows and self._ours_s):
            self.ask_later(now)
            return
        # never more than was asked for, never less than Min-SE
        wishes = [one for one in (self._ours_s, asked.interval_s if asked else 0) if one]
        interval = max(parse_min_se(request.header("Min-SE"), self._floor_s), min(wishes))
        refresher = asked.refresher if asked and knows else ""
        if not refresher:
            # ours by default: who refreshes notices a dead peer at half the interval
            refresher = "uac" if knows and self.interval_s and not self.we_refresh else "uas"
        headers.set("Session-Expires", str(SessionExpires(interval, refresher)))
        if knows:
            headers.set("Require", TIMER)
        self._start(interval, refresher == "uas", now)

    # timers

    def _start(self, interval_s: int, we_refresh: bool, now: float) -> None:
        self.stop()
        self.interval_s, self.we_refresh = interval_s, we_refresh
        # section 10: BYE goes out a little before the session expires
        self._deadline = self._heap.at(now + interval_s - min(32.0, interval_s / 3), self._expired)
        if we_refresh:
            self._next = self._heap.at(now + interval_s / 2, self._refresh)

    def ask_later(self, now: float) -> None:
        """Have a peer without session timers asked, after half our interval, whether it is alive."""
        self.stop()
        self.interval_s, self.we_refresh = 0, False
        if self._ours_s:
            self._next = self._heap.at(now + self._ours_s / 2, self._probe)

    def again(self, now: float) -> None:
        """Try again after a refresh that could not be sent or was refused: at half of the time that is left."""
        if not self.interval_s:
            return  # the peer has switched the timer off meanwhile
        self._next.cancel()
        self._next = self._heap.at(now + max(1.0, (self._deadline.when - now) / 2), self._refresh)

    def stop(self) -> None:
        """End the timers."""
        self._deadline.cancel()
        self._next.cancel()
