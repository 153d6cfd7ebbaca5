"""The bundle's events become states and calls; its refusals become terminations."""

import asyncio
from typing import Any

import pytest

from gateway.browser.errors import PageError, PageGone
from gateway.domain import termination as t
from gateway.domain.page_call import PageActive, PageEnded, PageRinging
from gateway.domain.states import PageState
from gateway.page.driver import CallRefused, PageCall, PageListener, Peer
from gateway.page.whatsapp import WhatsAppDriver

pytestmark = pytest.mark.unit


class Target:
    """Answers commands from a table, and may emit events before it answers."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {"calls": []}
        self.commands: list[tuple[object, ...]] = []
        self.before_answer: list[dict[str, Any]] = []
        self.driver: WhatsAppDriver | None = None

    async def call(self, name: str, *args: object, timeout_s: float = 15) -> Any:
        self.commands.append((name, *args))
        for event in self.before_answer:
            assert self.driver is not None
            self.driver.on_event(event)
        answer = self.answers.get(name)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Seen:
    def __init__(self) -> None:
        self.states: list[tuple[PageState, str]] = []
        self.incoming: list[PageCall] = []
        self.media: list[str] = []

    def listener(self) -> PageListener:
        return PageListener(
            on_state=lambda state, detail: self.states.append((state, detail)),
            on_incoming=self.incoming.append,
            on_media=self.media.append,
        )


@pytest.fixture
def target() -> Target:
    return Target()


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def driver(target: Target, seen: Seen) -> WhatsAppDriver:
    target.driver = WhatsAppDriver(target, seen.listener())  # type: ignore[arg-type]
    return target.driver


INCOMING = {
    "type": "call.incoming",
    "id": "A1",
    "peer": "5511@c.us",
    "phone": "551199990000",
    "name": "Ana",
    "video": False,
}


def state(number: int, id_: str = "A1", *, outgoing: bool = False) -> dict[str, Any]:
    return {"type": "call.state", "id": id_, "state": number, "end_reason": None, "outgoing": outgoing}


async def test_an_incoming_call_is_told_once_with_its_peer(driver: WhatsAppDriver, seen: Seen) -> None:
    event = INCOMING
    driver.on_event(event)
    driver.on_event(event)
    [call] = seen.incoming
    assert (call.page_call_id, call.peer, call.outgoing) == ("A1", Peer("551199990000", "Ana"), False)
    assert driver.busy


async def test_states_and_the_end_reach_the_call(driver: WhatsAppDriver, seen: Seen) -> None:
    driver.on_event(INCOMING)
    for event in (state(3), state(4), state(6), {"type": "call.gone", "id": "A1", "end_reason": 2, "elsewhere": False}):
        driver.on_event(event)
    [call] = seen.incoming
    assert [await call.next_event(), await call.next_event()] == [PageActive(), PageEnded(t.HANGUP)]
    assert not driver.busy


async def test_the_end_of_a_call_that_is_over_is_no_command(driver: WhatsAppDriver, target: Target, seen: Seen) -> None:
    driver.on_event(INCOMING)
    driver.on_event({"type": "call.gone", "id": "A1"})
    await seen.incoming[0].hangup()
    await seen.incoming[0].reject()
    assert target.commands == []


async def test_a_dialled_call_keeps_what_came_before_the_answer(driver: WhatsAppDriver, target: Target) -> None:
    target.answers["dial"] = {"id": "B2"}
    target.before_answer = [state(1, "B2", outgoing=True), state(2, "B2", outgoing=True)]
    call = await driver.dial("551188880000")
    assert call.peer.phone == "551188880000"
    assert await call.next_event() == PageRinging()


async def test_a_dialled_call_that_ended_before_the_answer_is_not_forgotten(
    driver: WhatsAppDriver, target: Target
) -> None:
    target.answers["dial"] = {"id": "B2"}
    target.before_answer = [
        state(1, "B2", outgoing=True),
        {"type": "call.gone", "id": "B2", "end_reason": 3, "elsewhere": False},
    ]
    call = await driver.dial("551188880000")
    assert await call.next_event() == PageEnded(t.BUSY)
    assert not driver.busy


@pytest.mark.parametrize(
    ("code", "expected"),
    [("not_on_whatsapp", t.NOT_ON_WHATSAPP), ("busy_line", t.LINE_BUSY), ("calling_disabled", t.PAGE_UNAVAILABLE),
     ("something_new", t.UNREACHABLE)],
)  # fmt: skip
async def test_a_refused_call_says_why(
    driver: WhatsAppDriver, target: Target, code: str, expected: t.Termination
) -> None:
    target.answers["dial"] = PageError(code, "no")
    with pytest.raises(CallRefused) as caught:
        await driver.dial("551188880000")
    assert caught.value.termination == expected


async def test_a_lost_page_ends_its_calls(driver: WhatsAppDriver, seen: Seen) -> None:
    driver.on_event(INCOMING)
    driver.on_lost("Chrome is gone")
    assert await seen.incoming[0].next_event() == PageEnded(t.PAGE_LOST)
    assert seen.states[-1] == (PageState.LOST, "Chrome is gone")


async def test_a_state_is_told_once(driver: WhatsAppDriver, seen: Seen) -> None:
    for _ in range(2):
        driver.on_event({"type": "page.state", "state": "READY", "detail": ""})
    assert seen.states == [(PageState.READY, "")]


async def test_the_probe_gives_state_and_own_number(driver: WhatsAppDriver, target: Target, seen: Seen) -> None:
    target.answers["probe"] = {
        "abi": 1,
        "state": "DEGRADED",
        "detail": "",
        "missing": ["CallStore"],
        "ownNumber": "5511",
    }
    await driver.refresh()
    assert seen.states == [(PageState.DEGRADED, "CallStore")]
    assert driver.own_number == "5511"


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"type": "unknown"},
        {"type": "call.incoming"},
        {"type": "call.incoming", "id": "x", "phone": "<script>"},
        {"type": "call.state", "id": "A1", "state": "6"},
        {"type": "page.state", "state": "FINE"},
    ],
)
async def test_bad_events_change_nothing(driver: WhatsAppDriver, seen: Seen, event: dict[str, Any]) -> None:
    driver.on_event(event)
    assert (seen.states, seen.incoming, seen.media) == ([], [], [])


@pytest.mark.parametrize("code", ["call_not_found", "call_not_ringing"])
@pytest.mark.parametrize("command", ["accept", "reject", "hangup"])
async def test_a_command_that_comes_after_the_far_ends_hang_up_is_harmless(
    driver: WhatsAppDriver, target: Target, seen: Seen, command: str, code: str
) -> None:
    driver.on_event(INCOMING)
    [call] = seen.incoming
    for name in ("accept", "reject", "end"):
        target.answers[name] = PageError(code, "it is over")
    async with asyncio.timeout(1), asyncio.TaskGroup() as tasks:
        tasks.create_task(getattr(call, command)())
        await asyncio.sleep(0)
        assert target.commands
        driver.on_event({"type": "call.gone", "id": "A1", "end_reason": None, "elsewhere": False})
    assert await call.next_event() == PageEnded(t.CANCELLED)
    assert not driver.busy


async def test_a_command_that_fails_in_a_call_that_stands_is_a_fault(
    driver: WhatsAppDriver, target: Target, seen: Seen
) -> None:
    driver.on_event(INCOMING)
    target.answers["end"] = PageError("call_failed", "another call is active")
    with pytest.raises(PageError):
        await seen.incoming[0].hangup()


@pytest.mark.parametrize(
    ("told", "takes", "places"),
    [
        ({"state": "READY"}, True, True),
        ({"state": "DEGRADED"}, False, False),
        ({"state": "DEGRADED", "can": {"incoming": True, "outgoing": False}}, True, False),
        ({"state": "DEGRADED", "can": {"incoming": True, "outgoing": True}}, True, True),
        ({"state": "LOGIN_REQUIRED", "can": {"incoming": True, "outgoing": True}}, False, False),
    ],
)
def test_a_degraded_page_gives_what_it_still_can(
    driver: WhatsAppDriver, told: dict[str, Any], takes: bool, places: bool
) -> None:
    driver.on_event({"type": "page.state", "detail": "", **told})
    assert (driver.can_take, driver.can_place) == (takes, places)


async def test_a_ready_page_is_asked_for_its_versions_once(driver: WhatsAppDriver, target: Target) -> None:
    driver.on_event({"type": "page.state", "state": "READY", "detail": ""})
    assert not driver.settled
    target.answers["probe"] = {"state": "READY", "waVersion": "2.3000.1", "wajsVersion": "4.6.0", "checks": []}
    await driver.refresh()
    assert driver.settled
    assert driver.probe is not None
    assert driver.probe.waVersion == "2.3000.1"


async def test_an_event_that_comes_while_the_page_answers_is_the_younger_word(
    driver: WhatsAppDriver, target: Target, seen: Seen
) -> None:
    target.answers["probe"] = {"state": "READY"}
    target.before_answer = [{"type": "page.state", "state": "LOGIN_REQUIRED", "detail": "scan"}]
    await driver.refresh()
    assert driver.state is PageState.LOGIN_REQUIRED
    assert not driver.settled


@pytest.mark.parametrize(
    ("force", "commands"), [(True, [("probe",), ("forceGates",), ("calls",)]), (False, [("probe",), ("calls",)])]
)
async def test_gates_are_forced_only_where_the_settings_say_so(
    target: Target, seen: Seen, force: bool, commands: list[tuple[str]]
) -> None:
    driver = WhatsAppDriver(target, seen.listener(), force_gates=force)  # type: ignore[arg-type]
    target.answers["probe"] = {
        "state": "DEGRADED", "loggedIn": True, "callingEnabled": False, "crossOriginIsolated": True
    }  # fmt: skip
    await driver.refresh()
    assert target.commands == commands


async def test_codes_of_the_login_reach_the_listener(target: Target) -> None:
    told: list[object] = []
    listener = PageListener(
        on_state=lambda state, detail: None,
        on_incoming=lambda call: None,
        on_media=lambda state: None,
        on_qr=told.append,
        on_link_code=told.append,
    )
    driver = WhatsAppDriver(target, listener)  # type: ignore[arg-type]
    for event in ({"type": "session.qr", "code": "2@a,b,c,d"}, {"type": "session.code", "code": "ABCD1234"}):
        driver.on_event(event)
    driver.on_lost("gone")
    assert told == ["2@a,b,c,d", "ABCD1234", None]


READY: dict[str, Any] = {"state": "READY"}
STRAY: dict[str, Any] = {"id": "A1", "ours": True}


async def test_calls_of_a_gateway_that_is_gone_are_ended_once(target: Target, driver: WhatsAppDriver) -> None:
    """Those that it placed or took; what rings, or a person began in the page, goes on."""
    target.answers.update(probe=READY, calls=[STRAY, {"id": "A2", "ours": False}])
    await driver.refresh()
    await driver.refresh()
    assert target.commands == [("probe",), ("calls",), ("end", "A1"), ("probe",)]


@pytest.mark.parametrize(
    "fault", [PageError("not_ready", "WhatsApp Web starts"), PageGone("The page went away")], ids=["refused", "gone"]
)
async def test_a_call_that_went_on_is_ended_later_where_the_page_cannot_yet(
    target: Target, driver: WhatsAppDriver, fault: Exception
) -> None:
    target.answers.update(probe=READY, calls=[STRAY], end=fault)
    await driver.refresh()
    assert driver.state is PageState.READY
    target.answers["end"] = PageError("call_not_found", "there is no such call")
    await driver.refresh()
    await driver.refresh()
    assert target.commands.count(("end", "A1")) == 2


async def test_our_own_calls_are_none_of_another_gateway(target: Target, driver: WhatsAppDriver, seen: Seen) -> None:
    target.answers.update(probe=READY, calls=[STRAY, {"id": "B1", "ours": True}], dial={"id": "B1"})
    driver.on_event(INCOMING)
    await seen.incoming[0].accept()
    await driver.dial("5511")
    # A state of the other's call that came first makes it none of ours.
    driver.on_event({"type": "call.state", "id": "C1", "state": 6, "outgoing": True})
    target.answers["calls"].append({"id": "C1", "ours": True})
    await driver.refresh()
    assert [command for command in target.commands if command[0] == "end"] == [("end", "C1")]


async def test_nothing_is_ended_while_a_call_is_being_placed(target: Target, driver: WhatsAppDriver) -> None:
    target.answers.update(probe=READY, calls=[{"id": "B1", "ours": True}], dial={"id": "B1"})
    placing = asyncio.Event()

    async def held(name: str, *args: object, timeout_s: float = 15) -> Any:
        if name == "dial":
            await placing.wait()
        return await Target.call(target, name, *args, timeout_s=timeout_s)

    target.call = held  # type: ignore[method-assign]
    async with asyncio.TaskGroup() as group:
        group.create_task(driver.dial("5511"))
        await asyncio.sleep(0)
        await driver.refresh()
        placing.set()
    await driver.refresh()
    assert ("end", "B1") not in target.commands


async def test_what_rang_before_it_could_be_taken_is_told_again(
    target: Target, driver: WhatsAppDriver, seen: Seen
) -> None:
    for id_ in ("A1", "A2", "A3"):
        driver.on_event({**INCOMING, "id": id_})
    await seen.incoming[1].accept()
    driver.on_event({"type": "call.gone", "id": "A3"})
    seen.incoming.clear()
    await driver.announce()
    driver.on_event(INCOMING)
    assert [call.page_call_id for call in seen.incoming] == ["A1"]
    assert target.commands[-1] == ("announce",)
