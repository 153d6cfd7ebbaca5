"""Writes that nobody waits for: committed in the order in which they were added, sooner or later.

A call must not wait for a disk that is full, a database that another program locks or a PostgreSQL that restarts. What
it leaves behind (records, events) waits here instead, in memory, and is tried until it is committed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog
from sqlalchemy.orm import Session

from gateway.domain.errors import PonteError
from gateway.store.database import Database

_CAPACITY: Final = 10_000  # a call leaves about ten: an hour of a busy gateway without its database
_BATCH: Final = 100
_FIRST_PAUSE_S: Final = 0.1
_MAX_PAUSE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One write.

    Attributes:
        work: writes, in a transaction that it may share with entries beside it; may run more than once.
        committed: told what *work* gave, once, when it is on the disk.
        lost: told why it will never be committed.
    """

    work: Callable[[Session], Any]
    committed: Callable[[Any], None]
    lost: Callable[[str], None]


def _nothing(_: object) -> None:
    pass


class Journal:
    """The writes that wait, and the one task that commits them.

    Args:
        database: where they go.
        capacity: how many may wait; what comes then is lost, and told so.
        first_pause_s: after a failure; doubled until *max_pause_s*.
        max_pause_s: cap of the pause.
    """

    def __init__(
        self,
        database: Database,
        *,
        capacity: int = _CAPACITY,
        first_pause_s: float = _FIRST_PAUSE_S,
        max_pause_s: float = _MAX_PAUSE_S,
    ) -> None:
        self._database = database
        self._capacity = capacity
        self._first_pause_s, self._max_pause_s = first_pause_s, max_pause_s
        self._entries: deque[Entry] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._failing: PonteError | None = None
        self._log = structlog.get_logger(__name__)

    @property
    def waiting(self) -> int:
        """How many writes are not committed yet."""
        return len(self._entries)

    def add(
        self,
        work: Callable[[Session], Any],
        *,
        committed: Callable[[Any], None] = _nothing,
        lost: Callable[[str], None] = _nothing,
    ) -> None:
        """Have *work* committed after everything that was added before; never blocks. See `Entry`."""
        if len(self._entries) >= self._capacity:
            lost("too many writes wait for the database")
            return
        self._entries.append(Entry(work, committed, lost))
        self._idle.clear()
        self._wake.set()

    @contextlib.asynccontextmanager
    async def running(self, *, flush_s: float = 5.0) -> AsyncIterator[None]:
        """Commit while the block runs, and what is left at its end, for at most *flush_s* seconds."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self._run(), name="journal")
            try:
                yield
            finally:
                try:
                    await self.flush(flush_s)
                finally:
                    task.cancel()
                    for entry in self._entries:
                        entry.lost("the gateway stopped before the database could be written")
                    self._entries.clear()

    async def check(self) -> None:
        """Return where the last write was committed.

        Raises:
            PonteError: it waits; the sentence says for what.
        """
        if self._failing is not None:
            raise self._failing.with_traceback(None)  # else each look at it makes it longer

    async def flush(self, timeout_s: float) -> bool:
        """Wait until nothing waits any more, and say whether it came to that in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def _run(self) -> None:
        pause_s = self._first_pause_s
        singly = 0  # entries to take one by one, since one of them cannot be written
        while True:
            if not self._entries:
                self._idle.set()
                self._wake.clear()
                await self._wake.wait()
            batch = [self._entries[n] for n in range(min(1 if singly else _BATCH, len(self._entries)))]
            try:
                results = await self._database.write(lambda session, batch=batch: _work(session, batch))  # type: ignore[misc]
            except PonteError as error:
                if error.retryable:
                    self._complain(error)
                    await asyncio.sleep(pause_s)
                    pause_s = min(pause_s * 2, self._max_pause_s)
                    continue
                why = str(error)
            except Exception:
                self._log.exception("journal_entry_failed")
                why = "a fault of ours; see the log"
            else:
                self._recovered()
                pause_s = self._first_pause_s
                singly = max(singly - len(batch), 0)
                for entry, result in zip(batch, results, strict=True):
                    self._entries.popleft()
                    entry.committed(result)
                continue
            if len(batch) > 1:
                singly = len(batch)
                continue
            singly = max(singly - 1, 0)
            self._entries.popleft().lost(why)

    def _complain(self, error: PonteError) -> None:
        before, self._failing = self._failing, error
        if before is None:
            self._log.error("store_write_waits", error=str(error), waiting=self.waiting)

    def _recovered(self) -> None:
        if self._failing is not None:
            self._failing = None
            self._log.info("store_written_again", waiting=self.waiting)


def _work(session: Session, batch: list[Entry]) -> list[Any]:
    results = []
    for entry in batch:
        results.append(entry.work(session))
        session.flush()
    return results
