"""The engine: pragmas, transactions, migrations, and every driver error turned into a `StoreError`.

SQLAlchemy is used synchronously, in a small pool of threads: SQLite has no asynchronous driver (the packages that
look like one are a thread as well), statements take microseconds, and one way of working serves PostgreSQL too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import alembic.command
import alembic.config
import alembic.util
import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DataError, IntegrityError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from gateway.domain.errors import ConfigError
from gateway.store.errors import ConstraintError, StoreError

T = TypeVar("T")

_READERS = 3  # threads; statements are short
_WRITERS = 2  # threads of their own, so that a database that another program locks can still be read
_MIGRATION_LOCK = 0x706F6E7465  # "ponte"; the key of PostgreSQL's advisory lock


class Database:
    """One database, opened and migrated.

    Args:
        url: SQLAlchemy URL of SQLite or PostgreSQL. May hold a password: never logged.
        timeout_s: seconds to wait for a lock.

    Raises:
        ConfigError: the URL is not usable.
        StoreError: the database cannot be opened or migrated.
    """

    def __init__(self, url: str, *, timeout_s: float) -> None:
        try:
            parsed = _with_driver(sa.make_url(url))
            self._path = _sqlite_path(parsed)
            arguments = {"timeout": timeout_s} if self._path else _postgresql_arguments(parsed, timeout_s)
            # hide_parameters: SQLAlchemy would write numbers and sealed secrets into its error texts.
            self._engine = sa.create_engine(
                parsed, hide_parameters=True, pool_pre_ping=self._path is None, pool_timeout=timeout_s,
                connect_args=arguments,
            )  # fmt: skip
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise ConfigError(
                f"Bad database URL: {type(error).__name__}; is its driver installed?", "database_url"
            ) from None
        if self._path is not None:
            sa.event.listen(self._engine, "connect", _set_up_sqlite)
            sa.event.listen(self._engine, "begin", _begin_sqlite)
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="store-read")
        self._writers = ThreadPoolExecutor(_WRITERS, thread_name_prefix="store-write")
        # Between our own threads a lock is fair and wakes at once; SQLite's own waiting is a poll that can starve.
        self._write_lock = threading.Lock() if self._path is not None else None
        self._timeout_s = timeout_s
        self._inode: int | None = None
        try:
            if self._path is not None:
                self._create_file(self._path)
            self._migrate()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Wait for running statements and close all connections."""
        self._readers.shutdown(wait=True)
        self._writers.shutdown(wait=True)
        self._engine.dispose()

    async def read(self, work: Callable[[Session], T]) -> T:
        """Run *work* in a transaction that only reads.

        Raises:
            StoreError: the database is locked, gone or broken.
        """
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._run, work, False)

    async def write(self, work: Callable[[Session], T]) -> T:
        """Run *work* in a transaction and return when it is committed to the disk.

        A caller that is cancelled while it waits does not know whether the commit happened, as with any database.

        Raises:
            StoreError: the database is locked, gone or broken; nothing was changed.
        """
        return await asyncio.get_running_loop().run_in_executor(self._writers, self._write, work)

    def _write(self, work: Callable[[Session], T]) -> T:
        if self._write_lock is None:
            return self._run(work, True)
        if not self._write_lock.acquire(timeout=self._timeout_s):
            raise StoreError("The database cannot be used (database is locked): a write before this one waits")
        try:
            return self._run(work, True)
        finally:
            self._write_lock.release()

    def _run(self, work: Callable[[Session], T], write: bool) -> T:
        with self._errors(), self._engine.connect().execution_options(ponte_write=write) as connection:
            self._check_file()
            with Session(connection, expire_on_commit=False) as session, session.begin():
                result = work(session)
            if write:
                self._check_file()
            return result

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            kind = ConstraintError if isinstance(error, IntegrityError | DataError) else StoreError
            raise kind(_sentence(error, sqlite=self._path is not None)) from error

    def _create_file(self, path: Path) -> None:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Made here, because SQLite would make it readable for everybody.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._inode = path.stat().st_ino
        except OSError as error:
            raise StoreError(f"Cannot open the database file {path}: {error.strerror}") from None

    def _check_file(self) -> None:
        """Refuse to go on with a file that was deleted or replaced under us: commits to it would be lost."""
        if self._path is None:
            return
        try:
            inode = self._path.stat().st_ino
        except OSError:
            inode = None
        if inode != self._inode:
            raise StoreError(f"The database file {self._path} was removed or replaced: restart the gateway")

    def _migrate(self) -> None:
        config = alembic.config.Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        # Under one lock, so that `serve` and `keys` started at once do not both create the tables.
        engine = self._engine.execution_options(ponte_write=True)
        with self._errors(), engine.begin() as connection:
            if self._path is None:
                connection.execute(sa.text("SET LOCAL statement_timeout = 0"))  # a large table takes its time
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            config.attributes["connection"] = connection
            try:
                alembic.command.upgrade(config, "head")
            except alembic.util.CommandError:
                raise StoreError(
                    "The database was written by a newer version of Ponte: install that version again"
                ) from None


def _sentence(error: SQLAlchemyError, *, sqlite: bool) -> str:
    """Say what is wrong. PostgreSQL's own texts hold values of columns, so only their kind is told."""
    cause = getattr(error, "orig", None)
    if not sqlite:
        code = getattr(cause, "sqlstate", None)
        text, hint = _POSTGRESQL_STATES.get((code or "")[:2], (type(error).__name__, ""))
        return f"The database cannot be used ({text}{f', SQLSTATE {code}' if code else ''}){hint}"
    text = str(cause).splitlines()[0] if cause is not None else type(error).__name__
    hint = next((hint for words, hint in _SQLITE_HINTS.items() if words in text), "")
    return f"The database cannot be used ({text}){hint}"


_SQLITE_HINTS = {
    "locked": ": another program holds it",
    "is full": ": free some space on the disk that holds PONTE_STATE_DIR",
    "disk I/O error": ": look at the disk that holds PONTE_STATE_DIR; it may be full",
    "readonly": ": the gateway's user must be able to write the file and its folder",
}
_POSTGRESQL_STATES = {
    "": ("no connection to PostgreSQL", ": see that it runs and that PONTE_DATABASE_URL leads to it"),
    "08": ("the connection to PostgreSQL was lost", ": it is made again by itself"),
    "57": ("PostgreSQL stops or starts", ": the connection is made again by itself"),
    "53": ("PostgreSQL has no room: disk, memory or connections", ": look at its server"),
    "55": ("a lock was not had in time", ": another program holds it"),
    "28": ("PostgreSQL refuses the user or the password", ": see PONTE_DATABASE_URL"),
    "3D": ("there is no database of that name", ": create it, or see PONTE_DATABASE_URL"),
    "23": ("a constraint does not hold", ""),
}
"""By the class of the SQLSTATE: what it means, and what mends it. The empty one is for no answer at all."""


def _with_driver(url: sa.URL) -> sa.URL:
    """Name psycopg 3 where the URL names no driver: ``postgres://`` is what hosting companies hand out."""
    return url.set(drivername="postgresql+psycopg") if url.drivername in {"postgresql", "postgres"} else url


def _postgresql_arguments(url: sa.URL, timeout_s: float) -> dict[str, object]:
    """Bounds for each wait on PostgreSQL; what the URL itself says of a name goes before them."""
    milliseconds = round(timeout_s * 1000)
    wanted: dict[str, object] = {
        "connect_timeout": max(2, round(timeout_s)),  # whole seconds; libpq takes 1 for 2
        "tcp_user_timeout": milliseconds,  # a server that vanished without a FIN
        "options": f"-c lock_timeout={milliseconds} -c statement_timeout={milliseconds} -c timezone=UTC",
    }
    return {name: value for name, value in wanted.items() if name not in url.query}


def _sqlite_path(url: sa.URL) -> Path | None:
    if url.get_backend_name() != "sqlite":
        return None
    if not url.database or url.database == ":memory:" or "uri" in url.query:
        raise ConfigError("The database URL must name a file: in memory everything would be lost", "database_url")
    return Path(url.database)


def _set_up_sqlite(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # pysqlite would begin transactions late and commit around DDL; see _begin_sqlite
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")  # WAL's usual NORMAL loses the last commits when the power fails
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    # A transaction that reads first and writes later fails at once when another one wrote in between: no timeout
    # applies. So those that write take the lock at the start.
    write = connection.get_execution_options().get("ponte_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
