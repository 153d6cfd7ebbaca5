"""The recording of a bridged call: begun by people or by the settings, told, written down, and over with the call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.accounts.call_book import CallBook
from gateway.accounts.recording import recorded, recording_rule
from gateway.bridge.call import Call
from gateway.bridge.control import WrongState
from gateway.bridge.flows import whatsapp_to_sip
from gateway.config import Settings
from gateway.domain.ids import AccountId
from gateway.domain.recording import RecordingFailed, RecordingState, RecordingUnavailable
from gateway.domain.states import CallState, Direction
from gateway.events.hub import EventHub, Subscription
from gateway.ops.metrics import Metrics
from gateway.sip import IncomingInvite
from gateway.store.events import StoredEvent
from gateway.store.store import Store
from tests.integration.bridge.rig import LIMITS, PARTIES, PlayedCall, Rig, bridge_rig, phone_sdp
from tests.integration.bridge.test_flows import until

pytestmark = pytest.mark.integration


@dataclass
class Recorded:
    """A rig whose calls are written down."""

    rig: Rig
    store: Store
    book: CallBook
    told: Subscription
    metrics: Metrics
    account: AccountId
    settings: Settings

    def call(self, settings: Settings | None = None) -> Call:
        plain = self.rig.call(Direction.WHATSAPP_TO_SIP)
        return Call(
            plain.call_id, self.account, Direction.WHATSAPP_TO_SIP, plain.media, LIMITS, self.book.changed, PARTIES,
            recording=recording_rule(settings or self.settings, self.account), on_recording=self.book.recording,
        )  # fmt: skip

    async def answered(self, call: Call) -> tuple[IncomingInvite, asyncio.Task[None]]:
        """The phone answers; gives it, and what ends with the call."""
        whatsapp = PlayedCall(outgoing=False)

        async def run() -> None:
            self.book.begin(call)
            async with recorded(call):
                await call.run(lambda one: whatsapp_to_sip(one, whatsapp, self.rig.sip.caller, "1000"))
            self.book.end(call)

        task = self.rig.tasks.create_task(run())
        phone = await asyncio.wait_for(self.rig.sip.calls.get(), 5)
        phone.ringing()
        await phone.answer(phone_sdp())
        await until(lambda: call.state is CallState.ACTIVE)
        return phone, task

    async def events(self) -> list[StoredEvent]:
        """All up to the call's last one."""
        found: list[StoredEvent] = []
        while not found or found[-1].type != "call.ended":
            found.append(await asyncio.wait_for(self.told.next(), 20))
        return found


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[Recorded]:
    settings = Settings(state_dir=tmp_path / "state", recording_min_free_mb=0)
    store = await Store.open(settings)
    try:
        account = (await store.keys.create("acme"))[0].account.id
        hub, metrics = EventHub(store), Metrics()
        async with store.journal.running(), bridge_rig() as rig:
            with hub.subscribed(account) as told:
                book = CallBook(store.journal, metrics, hub)
                yield Recorded(rig, store, book, told, metrics, account, settings)
    finally:
        await store.close()


async def test_a_recording_that_is_asked_for_stopped_and_asked_for_again(there: Recorded) -> None:
    call = there.call()
    with pytest.raises(WrongState):
        await call.control.record(True)
    phone, task = await there.answered(call)
    await call.control.record(True)
    await call.control.record(True)  # harmless
    path = there.settings.effective_recording_dir / there.account / f"{call.call_id}.opus"
    assert path.is_file()
    await call.control.record(False)
    await call.control.record(False)
    await call.control.record(True)
    await phone.bye()
    await task
    told = await there.events()
    assert [one.data["state"] for one in told if one.type == "call.recording"] == [
        "started", "stopped", "started", "stopped",
    ]  # fmt: skip
    assert [one.type for one in told][-2:] == ["call.recording", "call.ended"]
    recording = next(one.data for one in reversed(told) if one.type == "call.recording")
    assert (recording["file"], recording["format"], recording["reason"]) == (path.name, "opus", "")
    assert recording["call_id"] == call.call_id
    assert recording["whatsapp_number"] == "5511987654321"
    record = await there.store.calls.get(there.account, call.call_id)
    assert record is not None
    assert record.recording is not None
    assert (record.recording["state"], record.recording["bytes"]) == ("done", path.stat().st_size)
    metrics = there.metrics.render().decode()
    assert 'ponte_recordings_total{event="started",reason=""} 2.0' in metrics
    assert f"ponte_recording_bytes_total {float(path.stat().st_size)}" in metrics


async def test_every_call_of_an_account_is_recorded_from_its_answer_on(there: Recorded) -> None:
    call = there.call(there.settings.model_copy(update={"recording_accounts": (there.account,)}))
    phone, task = await there.answered(call)
    await until(lambda: call.recording.status is not None)
    await phone.bye()
    await task
    kinds = [(one.type, one.data.get("state")) for one in await there.events()]
    assert ("call.recording", "started") in kinds
    assert kinds.index(("call.recording", "started")) > kinds.index(("call.state", "ACTIVE"))
    assert call.recording.status is not None
    assert call.recording.status.state is RecordingState.DONE


async def test_recording_may_be_switched_off(there: Recorded) -> None:
    call = there.call(there.settings.model_copy(update={"recording": "off", "recording_accounts": (there.account,)}))
    phone, task = await there.answered(call)
    with pytest.raises(RecordingUnavailable, match="switched off"):
        await call.control.record(True)
    await call.control.record(False)
    await phone.bye()
    await task
    assert call.recording.status is None


async def test_a_disk_without_room_is_told_and_the_call_goes_on(there: Recorded) -> None:
    call = there.call(there.settings.model_copy(update={"recording_min_free_mb": 1_000_000_000}))
    phone, task = await there.answered(call)
    for _ in range(2):
        with pytest.raises(RecordingFailed, match="no room"):
            await call.control.record(True)
    assert call.state is CallState.ACTIVE
    await phone.bye()
    await task
    told = [one.data for one in await there.events() if one.type == "call.recording"]
    assert [(one["state"], one["reason"]) for one in told] == [("failed", "disk_full")]
    record = await there.store.calls.get(there.account, call.call_id)
    assert record is not None
    assert record.recording is not None
    assert (record.recording["state"], record.recording["reason"]) == ("failed", "disk_full")
    assert record.reason == "hangup"
