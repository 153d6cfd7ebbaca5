"""The store of one gateway process."""

from __future__ import annotations

import asyncio

import sqlalchemy as sa
from sqlalchemy.orm import Session

from gateway.config import Settings
from gateway.domain.ids import AccountId
from gateway.store.accounts import StoredAccounts
from gateway.store.admin_keys import AdminKeys
from gateway.store.builds import SeenBuilds
from gateway.store.calls import CallRecords, erase_records
from gateway.store.configs import BridgeConfigs
from gateway.store.database import Database
from gateway.store.errors import ConstraintError
from gateway.store.events import EventLog, erase_events
from gateway.store.idempotency import IdempotencyKeys
from gateway.store.journal import Journal
from gateway.store.keys import Keys
from gateway.store.models import MetaRow
from gateway.store.recordings import RecordingFiles
from gateway.store.secrets import SecretBox, load_secret_box
from gateway.store.traces import CallTraces
from gateway.store.webhooks import Webhooks

_CHECK = "secret_check"


class Store:
    """Accounts and keys, bridge configurations, call records.

    Attributes:
        accounts: accounts as such.
        keys: API keys of accounts.
        admin_keys: keys that make and remove accounts.
        configs: bridge configurations.
        calls: call records.
        traces: the time lines of calls.
        events: the log of events.
        recordings: files of recordings.
        webhooks: webhooks and their outbox.
        idempotency: keys of requests that began calls.
        builds: which build of WhatsApp Web worked last.
        journal: commits in order, sooner or later, what calls leave behind; the process runs it.
    """

    def __init__(self, database: Database, box: SecretBox, recordings: RecordingFiles) -> None:
        self._database = database
        self.recordings = recordings
        self.keys = Keys(database)
        self.accounts = StoredAccounts(database, self.keys.forget, recordings)
        self.admin_keys = AdminKeys(database)
        self.configs = BridgeConfigs(database, box)
        self.calls = CallRecords(database, recordings)
        self.traces = CallTraces(database)
        self.events = EventLog(database)
        self.webhooks = Webhooks(database, box)
        self.idempotency = IdempotencyKeys(database)
        self.journal = Journal(database)
        self.builds = SeenBuilds(database)

    @classmethod
    async def open(cls, settings: Settings) -> Store:
        """Open the database, run its migrations, and load the secret key; the first start makes both.

        Raises:
            ConfigError: a setting is wrong.
            StoreError: the database cannot be used.
            SecretKeyError: the secret key is not the one that the stored secrets were sealed with.
        """
        timeout_s = settings.database_timeout_s
        database = await asyncio.to_thread(Database, settings.effective_database_url, timeout_s=timeout_s)
        try:
            sealed = await database.read(lambda session: session.get(MetaRow, _CHECK))
            box = await asyncio.to_thread(load_secret_box, settings, may_create=sealed is None)
            if sealed is not None:
                box.open(_CHECK, sealed.value)
            else:
                try:
                    await database.write(lambda session: _add_check(session, box))
                except ConstraintError:  # another process that starts now was first: then its word is checked
                    await database.write(lambda session: _add_check(session, box))
        except BaseException:
            database.close()
            raise
        return cls(database, box, RecordingFiles(settings.effective_recording_dir))

    async def erase(self, account: AccountId, number: str) -> int:
        """Delete what is stored of one person in calls that ended: records with recordings, and events.

        Args:
            account: whose data.
            number: digits of the person's E.164 number.

        Returns:
            How many call records there were.
        """

        def work(session: Session) -> int:
            erase_events(session, account, number)
            return erase_records(session, account, number)

        await self.calls.delete_recordings_of(account, number)
        return await self._database.write(work)

    async def ping(self) -> None:
        """Read something.

        Raises:
            StoreError: the database cannot be used.
        """
        await self._database.read(lambda session: session.execute(sa.select(1)).one())

    async def close(self) -> None:
        """Finish what runs and close the database."""
        await asyncio.to_thread(self._database.close)


def _add_check(session: Session, box: SecretBox) -> None:
    """Keep a sealed word, so that a wrong key is noticed at the start, not at the first call."""
    row = session.get(MetaRow, _CHECK)
    if row is None:
        session.add(MetaRow(key=_CHECK, value=box.seal(_CHECK, "ponte")))
    else:
        box.open(_CHECK, row.value)
