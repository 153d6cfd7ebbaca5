"""The command line, as a user runs it."""

from __future__ import annotations

import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx2
import pytest

from tests.integration.cli.conftest import Done
from tests.support.ports import free_ports

pytestmark = pytest.mark.integration


def test_keys_from_making_to_revoking(ponte: Callable[..., Done]) -> None:
    created = ponte("keys", "create", "--account", "acme", "--label", "laptop")
    key = created.stdout.strip()
    assert re.fullmatch(r"ponte_[A-Za-z0-9_-]{43}", key)
    chosen = ponte("keys", "create", "--key", "sandbox-key")
    assert chosen.stdout == "sandbox-key\n"
    rows = json.loads(ponte("keys", "list", "--json").stdout)
    assert [(row["account"], row["label"], row["revoked_at"]) for row in rows] == [
        ("acme", "laptop", None),
        ("default", "", None),
    ]
    listed = ponte("keys", "list", "--account", "acme").stdout
    assert rows[0]["id"] in listed
    assert "sandbox" not in listed
    assert key not in listed
    assert rows[0]["id"] in ponte("keys", "revoke", rows[0]["id"]).stdout
    assert "revoked" in ponte("keys", "list", "--account", "acme").stdout
    assert rows[1]["id"] in ponte("keys", "revoke", "--account", "default").stdout
    assert "no such key" in ponte("keys", "revoke", "nothing", expect=1).stderr


def test_accounts_from_adding_to_removing(ponte: Callable[..., Done], tmp_path: Path) -> None:
    key = ponte("accounts", "add", "acme", "--label", "first").stdout.strip()
    assert re.fullmatch(r"ponte_[A-Za-z0-9_-]{43}", key)
    assert "already" in ponte("accounts", "add", "acme", expect=1).stderr
    second = ponte("accounts", "keys", "add", "acme").stdout.strip()
    ponte("accounts", "add", "other")
    shown = json.loads(ponte("accounts", "show", "acme", "--json").stdout)
    assert [(one["label"], one["revoked_at"]) for one in shown["keys"]] == [("first", None), ("", None)]
    assert (shown["enabled"], shown["open_calls"]) == (None, 0)
    ids = [one["id"] for one in shown["keys"]]
    assert "no such key" in ponte("accounts", "keys", "revoke", "other", ids[0], expect=1).stderr
    assert ids[0] in ponte("accounts", "keys", "revoke", "acme", ids[0]).stdout
    listed = ponte("accounts", "show", "acme").stdout
    assert ("revoked" in listed, key in listed, second in listed) == (True, False, False)
    # its Chrome profile goes with it, unless a Chrome has it open: then with that Chrome
    profiles = tmp_path / "state" / "chrome"
    (profiles / shown["id"] / "Default").mkdir(parents=True)
    assert ponte("accounts", "remove", "acme").stdout == "Removed: acme\n"
    assert not (profiles / shown["id"]).exists()
    other = json.loads(ponte("accounts", "show", "other", "--json").stdout)["id"]
    (profiles / other).mkdir()
    (profiles / other / "SingletonLock").symlink_to("host-1")
    with sqlite3.connect(tmp_path / "state" / "ponte.db") as database:
        database.execute(
            "INSERT INTO call_records (id, account_id, direction, origin, state, created_at) VALUES (?, ?, ?, ?, ?, ?)",
            ("a", other, "sip_to_whatsapp", "sip", "ACTIVE", "2026-11-23 12:00:00"),
        )
    database.close()
    assert "call in progress" in ponte("accounts", "remove", "other", expect=1).stderr
    assert "in use" in ponte("accounts", "remove", "other", "--force").stderr
    assert (profiles / other).exists()
    assert ponte("accounts", "list").stdout == ""
    assert f"other~{other}" in ponte("accounts", "list", "--removed").stdout
    assert "No account" in ponte("accounts", "show", "acme", expect=2).stderr


def test_admin_keys_from_making_to_revoking(ponte: Callable[..., Done]) -> None:
    key = ponte("admin-keys", "create", "--label", "ops").stdout.strip()
    assert re.fullmatch(r"ponte_admin_[A-Za-z0-9_-]{43}", key)
    [row] = json.loads(ponte("admin-keys", "list", "--json").stdout)
    assert (row["label"], row["revoked_at"]) == ("ops", None)
    assert row["id"] in ponte("admin-keys", "revoke", row["id"]).stdout
    listed = ponte("admin-keys", "list").stdout
    assert ("revoked" in listed, key in listed) == (True, False)
    assert "no such key" in ponte("admin-keys", "revoke", "nothing", expect=1).stderr


def test_accounts_that_the_command_line_adds_and_removes_beside_a_running_gateway(
    environment: dict[str, str], ponte: Callable[..., Done], tmp_path: Path
) -> None:
    environment |= {"PONTE_SIP_HOST": "127.0.0.1"}
    admin = {"Authorization": f"Bearer {ponte('admin-keys', 'create').stdout.strip()}"}
    body = {
        "enabled": True, "sipListenUser": "in", "sipListenSecret": "s3cret-s3cret", "wasmServerIP": "127.0.0.1",
        "chromeRemoteURL": f"ws://127.0.0.1:{free_ports()}",
    }  # fmt: skip
    with (
        serving(environment, "--no-wasm") as (_, api_port),
        httpx2.Client(base_url=f"http://127.0.0.1:{api_port}") as api,
    ):
        ports = {}
        for name in ("stays", "goes"):
            headers = {"Authorization": f"Bearer {ponte('accounts', 'add', name).stdout.strip()}"}
            ports[name] = free_ports()
            answer = api.post("/call/bridge/config", json=body | {"sipListenPort": ports[name]}, headers=headers)
            assert answer.json()["state"]["listener"]["state"] == "listening"
        gone = api.get("/accounts/goes", headers=admin).json()["id"]
        profile = tmp_path / "state" / "chrome" / gone
        profile.mkdir(parents=True)
        (profile / "SingletonLock").symlink_to("host-1")
        ponte("accounts", "remove", "goes")
        for _ in range(300):
            if not _listens(ports["goes"]) and not profile.exists():
                break
            _pause()
        assert api.get("/call", headers=headers).status_code == 401
        assert not _listens(ports["goes"])
        assert not profile.exists()
        assert _listens(ports["stays"])
        assert api.get("/accounts/stays", headers=admin).json()["state"]["listener"]["state"] == "listening"
        assert api.delete("/accounts/stays", headers=admin).status_code == 204
        assert api.get("/accounts", headers=admin).json() == {"accounts": []}


def _listens(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def test_the_command_itself(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "gateway.cli", "keys", "create", "--key", "short"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "ponte: A chosen key must have at least 8 ASCII characters and no space\n"


def test_erase_deletes_one_persons_records(ponte: Callable[..., Done], tmp_path: Path) -> None:
    ponte("keys", "create", "--account", "acme")
    with sqlite3.connect(tmp_path / "state" / "ponte.db") as database:
        [(account,)] = database.execute("SELECT id FROM accounts")
        columns = "id, account_id, direction, origin, state, created_at, ended_at, pii_whatsapp_number"
        row = (account, "sip_to_whatsapp", "sip", "ENDED", "2026-11-23 12:00:00", "2026-11-23 12:01:00")
        for name, number in (("a", "5511987654321"), ("b", "4915112345678")):
            values = (name, *row, number)
            database.execute(f"INSERT INTO call_records ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
    database.close()
    assert ponte("erase", "--account", "acme", "+5511987654321").stdout == "Deleted: 1 call records\n"
    assert ponte("erase", "--account", "acme", "+5511987654321").stdout == "Deleted: 0 call records\n"
    assert "No account" in ponte("erase", "--account", "acmee", "5511987654321", expect=2).stderr
    assert "digits" in ponte("erase", "--account", "acme", "Ana", expect=2).stderr


def test_version(ponte: Callable[..., Done]) -> None:
    assert re.fullmatch(r"ponte \d+\.\d+\.\d+\n", ponte("version").stdout)


def test_wrong_settings_are_one_sentence(
    ponte: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("PONTE_API_PROT", "1")
        wrong = ponte("keys", "list", expect=2)
    assert wrong.stderr == "ponte: Unknown setting PONTE_API_PROT in the environment; did you mean PONTE_API_PORT?\n"
    assert "api_port" in ponte("serve", "--api-port", "x", expect=2).stderr
    missing = str(tmp_path / "missing.toml")
    assert "missing.toml" in ponte("serve", "--config", missing, expect=2).stderr
    ponte("nonsense", expect=2)
    assert "--secret-key " not in ponte("serve", "--help").stdout


def test_a_state_folder_that_cannot_be_used(ponte: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"")
    failed = ponte("keys", "create", expect=1)
    assert "Cannot open the database file" in failed.stderr


@contextmanager
def serving(environment: dict[str, str], *arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway.cli", "serve", "--api-port", "0", *arguments],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = _line(process.stdout)
        yield process, json.loads(line)["api_port"]
    finally:
        process.kill()
        process.wait(20)
        if process.stdout is not None:
            process.stdout.close()


def _line(stream: IO[str]) -> str:
    line = stream.readline()
    assert line, "the gateway ended before it was ready"
    return line


def test_serve_configure_restart_and_stop(environment: dict[str, str], ponte: Callable[..., Done]) -> None:
    key = ponte("keys", "create").stdout.strip()
    headers = {"Authorization": f"Bearer {key}"}
    port = free_ports()
    # Nothing listens where Chrome is said to be: the configuration is kept, and the state says what is wrong.
    body = {
        "enabled": True, "sipListenPort": port, "sipListenUser": "in", "sipListenSecret": "s3cret-s3cret",
        "chromeRemoteURL": f"ws://127.0.0.1:{free_ports()}", "wasmServerIP": "127.0.0.1",
    }  # fmt: skip
    environment |= {"PONTE_SIP_HOST": "127.0.0.1"}
    with serving(environment, "--no-wasm") as (process, api_port):
        base = f"http://127.0.0.1:{api_port}/call/bridge"
        answer = httpx2.post(f"{base}/config", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.json()["state"]["listener"]["state"] == "listening"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as busy:
            busy.bind(("127.0.0.1", 0))
            taken = busy.getsockname()[1]
            refused = httpx2.post(f"{base}/config", json={"enabled": True, "sipListenPort": taken}, headers=headers)
        assert refused.status_code == 400
        assert str(taken) in refused.json()["errors"][0]["message"]
        assert refused.json()["errors"][0]["field"] == "sipListenPort"
        process.send_signal(signal.SIGKILL)
    with serving(environment, "--no-wasm") as (process, api_port):
        base = f"http://127.0.0.1:{api_port}/call/bridge"
        got = httpx2.get(f"{base}/config", headers=headers).json()
        assert (got["sipListenPort"], got["sipListenSecret"]) == (port, "***")
        status = httpx2.get(f"{base}/status", headers=headers).json()
        assert status["state"]["listener"]["state"] == "listening"
        assert status["state"]["page"]["state"] != "READY"
        assert status["state"]["page"]["detail"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_serve_runs_the_wasm_server_which_does_not_outlive_it(environment: dict[str, str]) -> None:
    port = free_ports()
    with serving(environment | {"PONTE_WASM_PORT": str(port)}) as (process, _):
        assert _answers(port, 20)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        assert _is_free(port, 20)


def _answers(port: int, timeout_s: float) -> bool:
    transport = httpx2.HTTPTransport(retries=0)
    with httpx2.Client(transport=transport) as client:
        for _ in range(int(timeout_s / 0.1)):
            try:
                client.get(f"http://127.0.0.1:{port}/manifest.json")
            except httpx2.TransportError:
                _pause()
            else:
                return True
    return False


def _is_free(port: int, timeout_s: float) -> bool:
    for _ in range(int(timeout_s / 0.1)):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return True
        _pause()
    return False


def _pause() -> None:
    import time

    time.sleep(0.1)


def test_serve_on_a_port_in_use(ponte: Callable[..., Done]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        failed = ponte("serve", "--no-wasm", "--log-level", "error", "--api-port", port, expect=2)
    assert failed.stderr == (
        f"ponte: Port {port} of 127.0.0.1 is in use by another program: stop it, or set PONTE_API_PORT\n"
    )
