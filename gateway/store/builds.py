"""Which build of WhatsApp Web worked last for each account: facts that save a look, not records of anybody."""

from __future__ import annotations

import json
from datetime import datetime

import structlog
from sqlalchemy.orm import Session

from gateway.domain.ids import AccountId
from gateway.domain.page_session import SeenBuild
from gateway.store.database import Database
from gateway.store.models import MetaRow


class SeenBuilds:
    """The stored builds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, account: AccountId) -> SeenBuild | None:
        """Return the build that the account's page was last READY with, None where it never was.

        Raises:
            StoreError: the database cannot be read.
        """
        row = await self._database.read(lambda session: session.get(MetaRow, _key(account)))
        if row is None:
            return None
        try:
            value = json.loads(row.value)
            lacks = value["login_lacks"]
            return SeenBuild(
                str(value["version"]), datetime.fromisoformat(value["at"]), None if lacks is None else tuple(lacks)
            )
        except (ValueError, KeyError, TypeError):
            # It is found out anew at the next READY.
            structlog.get_logger(__name__).warning("stored_build_unreadable", account_id=account)
            return None

    async def save(self, account: AccountId, build: SeenBuild) -> None:
        """Commit the build that works.

        Raises:
            StoreError: nothing was changed.
        """
        lacks = None if build.login_lacks is None else list(build.login_lacks)
        value = json.dumps({"version": build.version, "at": build.at.isoformat(), "login_lacks": lacks})

        def work(session: Session) -> None:
            session.merge(MetaRow(key=_key(account), value=value))

        await self._database.write(work)


def _key(account: AccountId) -> str:
    return f"wa_build/{account}"
