"""A PostgreSQL cluster of the tests' own: in a temporary folder, on a Unix socket, as a user without rights."""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

_START_TIMEOUT_S = 60.0
_POLL_S = 0.05


def postgres_bin() -> Path | None:
    """The folder of Debian's newest PostgreSQL, None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


def _as_nobody_special() -> list[str]:
    """PostgreSQL refuses root: run as the user that Debian's package made."""
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam("postgres")
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


@dataclass
class Cluster:
    """A running cluster.

    Attributes:
        folder: of its data and its socket.
        databases: how many were made.
    """

    folder: Path
    databases: int = 0
    _server: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def new_database(self) -> str:
        """Make an empty database; give its URL."""
        self.databases += 1
        name = f"ponte{self.databases}"
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql:///{name}?host={self.folder}&user=postgres"

    def execute(self, url: str, statement: str) -> None:
        """Run one statement in a database that was made."""
        with psycopg.connect(self._dsn(url.partition("///")[2].partition("?")[0]), autocommit=True) as connection:
            connection.execute(statement.encode())

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        binary = postgres_bin()
        assert binary is not None
        options = ["-k", str(self.folder), "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=60"]
        reaper = [sys.executable, str(Path(__file__).with_name("reaper.py")), "-"]
        server = subprocess.Popen(
            [*reaper, *_as_nobody_special(), str(binary / "postgres"), "-D", str(self.folder / "data"), *options],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self._server.append(server)
        deadline = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                psycopg.connect(self._dsn("postgres"), connect_timeout=5).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_S)

    def stop(self) -> None:
        """Stop the server at once, as a crash does: connections are cut."""
        while self._server:
            server = self._server.pop()
            pid = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 3)  # SIGQUIT: "immediate shutdown"
            assert server.stdin is not None
            server.stdin.close()
            server.wait(20)

    def _dsn(self, name: str) -> str:
        return f"host={self.folder} user=postgres dbname={name}"


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """Give a running cluster; it and its folder are gone after the block."""
    binary = postgres_bin()
    assert binary is not None, "PostgreSQL is not installed: .ci/install does it"
    folder = Path(tempfile.mkdtemp(prefix="ponte-pg-"))  # not pytest's: others may not enter that one
    one = Cluster(folder)
    # Whoever kills the tests leaves no folder behind: it goes when our end of this pipe closes.
    guard = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("reaper.py")), str(folder), "sleep", "infinity"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
        subprocess.run(
            [*_as_nobody_special(), str(binary / "initdb"), "-D", str(folder / "data"), "-U", "postgres",
             "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"],
            check=True, stdout=subprocess.DEVNULL, cwd="/", timeout=120,
        )  # fmt: skip
        one.start()
        yield one
    finally:
        one.stop()
        assert guard.stdin is not None
        guard.stdin.close()
        guard.wait(20)
