"""The far end: the phone at the other side of the page's calls, and the server in between.

An account has one call at a time, as on the real page.
"""

from __future__ import annotations

import asyncio
import itertools
import struct
import time
import uuid
from collections import deque
from collections.abc import Callable
from typing import Final

import numpy as np

from tests.standin.lines import Call, CallState, MediaLine, Message, NotNow, PageLine, lid_of
from tests.standin.linking import Linking
from tests.standin.schemas import RejectReason, RingRequest, Settings
from tests.standin.sound import FRAME, Samples
from tests.standin.tape import HeardTape, SayQueue
from tests.standin.waiting import offer_of, ring_beside

FRAME_S: Final = 0.02
LEAD_FRAMES: Final = 8  # 160 ms in the first message, which lie ready in the page: a stall makes no gap
MY_PHONE: Final = "4930901820"
AUDIBLE: Final = 104  # -50 dBFS


class FarEnd:
    """The other phone and the server between it and the page.

    Args:
        settings: how to behave at the start.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.page: PageLine | None = None
        self.media: MediaLine | None = None
        self.call: Call | None = None
        self.history: deque[Call] = deque(maxlen=50)
        self.csp_reports: deque[Message] = deque(maxlen=200)
        self.marks: dict[str, deque[Message]] = {
            "emitted": deque(maxlen=5000), "received": deque(maxlen=5000), "events": deque(maxlen=5000)
        }  # fmt: skip
        self.heard = HeardTape(time.monotonic())
        self.say = SayQueue()
        self.linking = Linking()
        self.visitors: list[PageLine] = []
        self.get_user_media_calls = 0
        self.pages_seen = 0
        self._tasks: asyncio.TaskGroup | None = None
        self._pongs: dict[int, asyncio.Future[Message]] = {}
        self._numbers = itertools.count(1)
        self._first: set[str] = set()
        self._phones: dict[str, str] = {}  # by LID, of everyone that the page has heard of

    async def run(self, ready: Callable[[], None]) -> None:
        """Speak, and own the far end's timers, until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            ready()
            self.linking.begin(self.settings)
            self._tasks.create_task(self._rotate())
            await self._speak()

    # --- the remote control ---

    def ring(self, request: RingRequest) -> Call:
        """Call the page's account.

        Raises:
            NotNow: no page is there, nobody is logged in, or the account is in a call.
        """
        if self.page is None:
            raise NotNow("No page is connected.")
        if not self.settings.logged_in:
            raise NotNow("The page is logged out.")
        if self.call is not None and request.waits_s is None:
            raise NotNow("The account is in a call; there is one at a time.")
        use_lid = self.settings.lid if request.lid is None else request.lid
        call = Call(
            id=uuid.uuid4().hex.upper(), direction="incoming", phone=request.caller,
            lid=lid_of(request.caller) if use_lid else None, name=request.name, video=request.video,
            state="ringing", began_at=time.time(), group=request.group,
        )  # fmt: skip
        self._phones[lid_of(call.phone)] = call.phone
        if self.call is not None and self._tasks is not None:
            self._tasks.create_task(ring_beside(call, request.waits_s or 0, self._tell))
            return call
        self.call = call
        self._event("ring", call)
        self._after(self.settings.ring_timeout_s, call, lambda: self._give_up(call, "timeout"))
        self._offer()
        return call

    def answer(self) -> Call:
        """Take the page's call.

        Raises:
            NotNow: the far end is not ringing.
        """
        call = self._current("outgoing", "ringing")
        call.state, call.accepted_at = "accepted", time.time()
        self._event("accepted", call)
        self._tell({"type": "accept", "id": call.id})
        return call

    def reject(self, reason: RejectReason) -> Call:
        """Refuse the page's call.

        Raises:
            NotNow: the page does not call.
        """
        call = self._current("outgoing", "calling", "ringing")
        if reason == "busy":
            # The peer's being busy is shown first, the call ends a moment later.
            self._tell({"type": "busy", "id": call.id})
            self._after(0.15, call, lambda: self._refuse(call, "busy", "rejected"))
        else:
            self._refuse(call, reason, "unavailable" if reason in ("timeout", "unreachable") else "rejected")
        return call

    def hang_up(self) -> Call:
        """End the call from the far end; before it was answered, its caller has given up.

        Raises:
            NotNow: there is no call.
        """
        if self.call is None:
            raise NotNow("There is no call.")
        call = self.call
        self._tell({"type": "terminate", "id": call.id})
        self._end(call, "far_end", "hangup")
        return call

    def elsewhere(self) -> Call:
        """Answer the call on another device of the same account.

        Raises:
            NotNow: the page does not ring.
        """
        call = self._current("incoming", "ringing")
        self._tell({"type": "elsewhere", "id": call.id})
        self._end(call, "elsewhere", "accepted_elsewhere")
        return call

    def change_settings(self, settings: Settings) -> None:
        """Behave by *settings* from now on; the page is told."""
        if self.call is not None and not settings.logged_in:
            self.hang_up()
        if settings.logged_in and not self.settings.logged_in and self.page is not None:
            self.linking.device = self.page.device
        self.settings = settings
        if settings.offline:
            for page in self._pages():
                page.close()
        self._tell_sessions()
        self._offer()

    def scan(self, text: str) -> None:
        """Hold the phone before the page's QR code.

        Raises:
            NotNow: the phone is offline, or the code is not the one that is shown.
        """
        self._link(self.linking.scan(text))

    def type_code(self, text: str) -> None:
        """Type the page's code into the phone.

        Raises:
            NotNow: the phone is offline, or no page shows the code.
        """
        self._link(self.linking.type_code(text))

    def unlink(self) -> None:
        """Take the page from the phone's list of linked devices.

        Raises:
            NotNow: no page is linked.
        """
        if self.page is None or not self._logged_in(self.page):
            raise NotNow("No page is linked.")
        self._leave(self.page)

    def displace(self) -> None:
        """Open the account in another page, which is not shown here.

        Raises:
            NotNow: no page is connected.
        """
        if self.page is None:
            raise NotNow("No page is connected.")
        self.page.send({"type": "conflict"})
        self.page.close()
        self._page_gone()

    def describe_link(self) -> Message:
        """Return what ``GET /state`` says of the link between page and phone."""
        linking = self.linking
        return {
            "linked": self.page is not None and self._logged_in(self.page),
            "phone_online": linking.phone_online,
            "shows_code": linking.ref is not None,
        }

    async def clock(self, timeout_s: float = 2.0) -> Message:
        """Ask the page's playback worklet for its clock, as a mark would carry it.

        Returns:
            ``sent`` and ``received`` by this process's ``time.time()``, and ``worklet`` in between.

        Raises:
            NotNow: no call has its audio up.
        """
        if self.media is None:
            raise NotNow("No call has its audio up.")
        number = next(self._numbers)
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._pongs[number] = answer
        try:
            sent = time.time()
            self.media.send(f'{{"type":"ping","number":{number}}}')
            pong = await asyncio.wait_for(answer, timeout_s)
        except TimeoutError:
            raise NotNow("The page's audio did not answer.") from None
        finally:
            del self._pongs[number]
        return {"sent": sent, "worklet": pong["worklet"], "received": pong["received"]}

    # --- the page ---

    def page_connected(self, device: str = "") -> PageLine:
        """Take a page in; an earlier one of the account is told to go."""
        page = PageLine(device=device)
        self.pages_seen += 1
        strict = self.settings.link_by_profile
        if self.settings.logged_in and (self.linking.device is None if strict else self.page is None):
            self.linking.device = device
        if not self._logged_in(page) and not self.linking.ref:
            self.linking.begin(self.settings)
        page.send(self._session(page))
        if self.page is not None and self.page.device != device and not self._logged_in(page):
            self.visitors.append(page)
            return page
        if self.page is not None:
            self.page.send({"type": "conflict"})
            self.page.close()
            self._page_gone()
        self.page = page
        return page

    def page_closed(self, page: PageLine) -> None:
        """Note that a page went away, which ends its call."""
        if page in self.visitors:
            self.visitors.remove(page)
        if self.page is page:
            self._page_gone()

    def page_said(self, page: PageLine, message: Message) -> None:
        """Act on one message of the page."""
        match message:
            case {"type": "exists", "phone": str(phone), "query": query}:
                # the first thing that a page does that is told to dial
                self.marks["events"].append({"event": "asked", "call": None, "at": time.time()})
                exists = phone not in self.settings.not_on_whatsapp
                self._phones[lid_of(phone)] = phone
                page.send(
                    {"answer": query, "exists": exists, "phone": phone,
                     "lid": lid_of(phone) if exists and self.settings.lid else None}
                )  # fmt: skip
            case {"type": "refresh_qr"}:
                self.linking.begin(self.settings)
                self._tell_refs()
            case {"type": "link_code", "query": query}:
                page.send({"answer": query, "code": self.linking.ask_code(page.device)})
            case {"type": "logout"}:
                self._leave(page)
            case {"type": "stack_ready"}:
                page.stack_ready = True
                self._offer()
            case {"type": "report"}:
                page.report = message
            case {"type": "get_user_media"}:
                self.get_user_media_calls += 1
            case {"type": "offer", "id": str(call_id), "to": str(jid)}:
                self._dialled(page, call_id, jid, bool(message.get("video")))
            case {"type": "accept" | "active" | "reject" | "terminate", "id": str(call_id)}:
                if self.call is not None and self.call.id == call_id:
                    self._page_acted(self.call, message)

    # --- the audio ---

    def media_connected(self, call_id: str) -> MediaLine:
        """Take the audio line of a call."""
        self.media = MediaLine(call_id)
        return self.media

    def media_closed(self, media: MediaLine) -> None:
        """Note that an audio line went away."""
        if self.media is media:
            self.media = None

    def heard_frame(self, media: MediaLine, data: bytes) -> None:
        """Take one frame of what the page's microphone sends."""
        if self.call is None or self.call.id != media.call_id or not self.call.audible:
            return
        samples = np.frombuffer(data, dtype="<i2", offset=16)
        self._note_first("first_audio_in", self.call, samples)
        filled = self.heard.write(samples.astype(np.int16), time.monotonic())
        media.gaps += filled and media.heard > 0
        media.heard += 1

    def media_said(self, media: MediaLine, message: Message) -> None:
        """Take a mark, a count or the answer to a ping."""
        match message:
            case {"type": "mark", "kind": "emitted" | "received" as kind, "ms": ms, "frame": frame}:
                self.marks[kind].append({"at": _seconds(ms), "frame": frame, "call": media.call_id})
            case {"type": "counts"}:
                media.counts = {name: value for name, value in message.items() if name != "type"}
            case {"type": "pong", "number": int(number), "workletMs": ms}:
                if (waiting := self._pongs.get(number)) is not None and not waiting.done():
                    waiting.set_result({"worklet": _seconds(ms), "received": time.time()})

    async def _speak(self) -> None:
        start, tick = time.monotonic(), 0
        while True:
            tick += 1
            delay = start + tick * FRAME_S - time.monotonic()
            if delay < -0.5:  # this process was held up: do not send a backlog in a burst
                start, tick = time.monotonic(), 0
                continue
            await asyncio.sleep(max(0.0, delay))
            call, media = self.call, self.media
            if call is None or media is None or media.call_id != call.id or not call.audible:
                continue
            count = 1 if media.said else LEAD_FRAMES
            samples = np.concatenate([self.say.frame() for _ in range(count)])
            self._note_first("first_audio_out", call, samples)
            media.send(struct.pack("<IId", media.said * FRAME % 2**32, 0, time.time() * 1000) + samples.tobytes())
            media.said += count

    # --- inside ---

    def _session(self, page: PageLine) -> Message:
        return {
            "type": "session",
            "me": {"phone": MY_PHONE, "lid": lid_of(MY_PHONE)},
            "settings": self.settings.model_dump() | {"logged_in": self._logged_in(page)},
            "ref": self.linking.ref,
        }

    def _pages(self) -> list[PageLine]:
        return [*self.visitors, *([self.page] if self.page is not None else [])]

    def _logged_in(self, page: PageLine) -> bool:
        return self.settings.logged_in and self.linking.device == page.device

    def _tell_sessions(self) -> None:
        for page in self._pages():
            page.send(self._session(page))

    def _tell_refs(self) -> None:
        for page in self._pages():
            if not self._logged_in(page):
                page.send({"type": "ref", "ref": self.linking.ref})

    async def _rotate(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            if self.linking.rotate(self.settings):
                self._tell_refs()

    def _link(self, device: str) -> None:
        self.linking.device = device
        self.settings = self.settings.model_copy(update={"logged_in": True})
        for page in self._pages():
            if page.device == device and page in self.visitors:
                self.visitors.remove(page)
                self.page = page
        self._tell_sessions()

    def _leave(self, page: PageLine) -> None:
        if self.call is not None:
            self.hang_up()
        self.settings = self.settings.model_copy(update={"logged_in": False})
        self.linking.device = None
        self.linking.begin(self.settings)
        page.send({"type": "logout"})

    def _tell(self, message: Message) -> None:
        if self.page is not None:
            self.page.send(message)

    def _offer(self) -> None:
        # A page gets the offer once its stack runs; one whose account may not call never does.
        call, page = self.call, self.page
        if call is None or call.direction != "incoming" or call.offered or page is None or not page.stack_ready:
            return
        if not (self.settings.calling_enabled and self.settings.logged_in):
            return
        call.offered = True
        page.send(offer_of(call))

    def _current(self, direction: str, *states: CallState) -> Call:
        call = self.call
        if call is None or call.direction != direction or call.state not in states:
            now = "there is no call" if call is None else f"the call is {call.direction} and {call.state}"
            raise NotNow(f"That needs an {direction} call that is {' or '.join(states)}; {now}.")
        return call

    def _dialled(self, page: PageLine, call_id: str, jid: str, video: bool) -> None:
        user, _, server = jid.partition("@")
        phone = self._phones.get(user) if server == "lid" else user
        settings = self.settings
        if self.call is not None or phone is None or phone in settings.not_on_whatsapp or not settings.calling_enabled:
            page.send({"type": "nack", "id": call_id, "reason": "refused by the server"})
            return
        call = Call(
            id=call_id, direction="outgoing", phone=phone, lid=user if server == "lid" else None, name=None,
            video=video, state="calling", began_at=time.time(), offered=True,
        )  # fmt: skip
        self.call = call
        self._event("dialled", call)
        self._after(settings.dial_timeout_s, call, lambda: self._refuse(call, "timeout", "unavailable"))
        if phone not in settings.unreachable:
            self._after(settings.ring_delay_ms / 1000, call, lambda: self._let_ring(call))

    def _let_ring(self, call: Call) -> None:
        if call.state != "calling":
            return
        call.state = "ringing"
        self._event("ringing", call)
        self._tell({"type": "preaccept", "id": call.id})
        if self.settings.auto_reject is not None:
            self.reject(self.settings.auto_reject)
        elif self.settings.auto_answer_ms is not None:
            self._after(self.settings.auto_answer_ms / 1000, call, lambda: call.state == "ringing" and self.answer())

    def _refuse(self, call: Call, reason: str, result: str) -> None:
        if call.state in ("calling", "ringing"):
            self._tell({"type": "reject", "id": call.id, "result": result})
            self._end(call, "far_end", reason)

    def _give_up(self, call: Call, reason: str) -> None:
        if call.state == "ringing":
            self._tell({"type": "terminate", "id": call.id})
            self._end(call, "far_end", reason)

    def _page_acted(self, call: Call, message: Message) -> None:
        match message["type"]:
            case "accept" if call.direction == "incoming" and call.state == "ringing":
                if self.settings.answered_elsewhere:
                    self.elsewhere()
                    return
                call.state, call.accepted_at = "accepted", time.time()
                self._event("accepted", call)
                self._tell({"type": "accept_ack", "id": call.id})
            case "active" if call.state == "accepted":
                call.state, call.active_at = "active", time.time()
                self._event("active", call)
            case "reject":
                self._end(call, "page", str(message.get("reason", "declined")))
            case "terminate":
                self._end(call, "page", str(message.get("detail") or message.get("reason")))

    def _page_gone(self) -> None:
        self.page = None
        if self.call is not None:
            self._end(self.call, "page_gone", "the page went away")

    def _end(self, call: Call, by: str, reason: str) -> None:
        call.state, call.ended_at, call.ended_by, call.reason = "ended", time.time(), by, reason
        self._event("ended", call)
        self.history.append(call)
        self._first.clear()
        if self.call is call:
            self.call = None
            self.say.clear()

    def _event(self, name: str, call: Call) -> None:
        self.marks["events"].append({"event": name, "call": call.id, "at": time.time()})

    def _note_first(self, name: str, call: Call, samples: Samples) -> None:
        if name not in self._first and int(np.abs(samples.astype(np.int32)).max(initial=0)) > AUDIBLE:
            self._first.add(name)
            self._event(name, call)

    def _after(self, seconds: float, call: Call, act: Callable[[], object]) -> None:
        async def wait() -> None:
            await asyncio.sleep(seconds)
            if self.call is call:
                act()

        if self._tasks is None:
            raise NotNow("The far end does not run yet.")
        self._tasks.create_task(wait())


def _seconds(ms: float) -> float:
    # The worklet's clock shows whole milliseconds, cut off: the middle of that millisecond is the best guess.
    return ms / 1000 + 0.0005
