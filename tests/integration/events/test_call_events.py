"""A real call's events and its record: the order in which they come, also where the database is locked meanwhile."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.accounts.call_book import CallBook
from gateway.bridge.call import Call
from gateway.bridge.flows import whatsapp_to_sip
from gateway.config import Settings
from gateway.domain.ids import AccountId, CallId
from gateway.domain.states import CallState, Direction
from gateway.events.hub import EventHub
from gateway.ops.metrics import Metrics
from gateway.store.events import StoredEvent
from gateway.store.store import Store
from tests.integration.bridge.rig import LIMITS, PARTIES, PlayedCall, Rig, bridge_rig, phone_sdp
from tests.integration.bridge.test_flows import until

pytestmark = pytest.mark.integration


@dataclass
class Written:
    store: Store
    hub: EventHub
    book: CallBook
    account: AccountId

    async def call(self, rig: Rig) -> Call:
        """A WhatsApp call that a phone answers and hangs up, written down as an account does it."""
        whatsapp = PlayedCall(outgoing=False)
        plain = rig.call(Direction.WHATSAPP_TO_SIP)
        call = Call(plain.call_id, self.account, plain.direction, plain.media, LIMITS, self.book.changed, PARTIES)
        self.book.begin(call)
        flow = rig.tasks.create_task(call.run(lambda one: whatsapp_to_sip(one, whatsapp, rig.sip.caller, "1000")))
        phone = await asyncio.wait_for(rig.sip.calls.get(), 5)
        phone.ringing()
        await phone.answer(phone_sdp())
        await until(lambda: call.state is CallState.ACTIVE)
        await phone.bye()
        await flow
        self.book.end(call)
        return call


@pytest.fixture
async def written(tmp_path: Path) -> AsyncIterator[Written]:
    store = await Store.open(Settings(state_dir=tmp_path / "state", database_timeout_s=0.2))
    try:
        account = (await store.keys.create("acme"))[0].account.id
        hub = EventHub(store)
        async with store.journal.running():
            yield Written(store, hub, CallBook(store.journal, Metrics(), hub), account)
    finally:
        await store.close()


async def test_a_calls_events_in_their_order_and_its_record_before_the_last(written: Written) -> None:
    with written.hub.subscribed(written.account) as subscription:
        async with bridge_rig() as rig:
            call = await written.call(rig)
        told: list[StoredEvent] = []
        while not told or told[-1].type != "call.ended":
            told.append(await asyncio.wait_for(subscription.next(), 20))
            if told[-1].type == "call.ended":
                record = await written.store.calls.get(written.account, CallId(call.call_id))
                assert record is not None
                assert (record.state, record.reason, record.sip_user) == (CallState.ENDED, "hangup", "1000")
                assert record.quality is not None
                assert record.quality["codec"] == "PCMU"
    kinds = [(one.type, one.data.get("state")) for one in told]
    assert kinds == [
        ("call.incoming", None),
        ("call.state", "CONNECTING"),
        ("call.state", "RINGING"),
        ("call.state", "ACTIVE"),
        ("call.state", "ENDING"),
        ("call.ended", None),
    ]
    incoming, ended = told[0].data, told[-1].data
    for parties in (incoming, ended):
        assert (parties["whatsapp_number"], parties["whatsapp_name"]) == ("5511987654321", "Ana")
        assert parties["sip_user"] == "1000"
    assert record is not None
    assert ended["quality"] == record.quality
    assert (ended["call_id"], ended["result"], ended["reason"]) == (call.call_id, "success", "hangup")
    assert ended["duration_s"] >= 0


async def test_a_locked_database_holds_no_call_up_and_loses_nothing_of_it(written: Written, tmp_path: Path) -> None:
    blocker = sqlite3.connect(tmp_path / "state" / "ponte.db", isolation_level=None)
    try:
        blocker.execute("BEGIN IMMEDIATE")
        async with bridge_rig() as rig:
            call = await written.call(rig)  # rings, talks and ends meanwhile
        assert call.state is CallState.ENDED
        assert written.store.journal.waiting >= 7
        blocker.execute("ROLLBACK")
        assert await written.store.journal.flush(20)
    finally:
        blocker.close()
    record = await written.store.calls.get(written.account, CallId(call.call_id))
    assert record is not None
    assert record.reason == "hangup"
    assert [one.type for one in await written.store.events.after(written.account, 0, limit=99)][-1] == "call.ended"
