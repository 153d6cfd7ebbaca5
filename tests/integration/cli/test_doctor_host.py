"""What `ponte doctor` says of this machine: real folders, a real certificate, a real gateway."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.accounts.checks import Result
from gateway.config import Settings
from gateway.doctor_host import account_checks, host_checks
from gateway.store.events import append_event
from gateway.store.store import Store
from tests.integration.cli.conftest import Done
from tests.integration.cli.test_cli import serving
from tests.support.ports import free_ports

pytestmark = pytest.mark.integration


def certificate(folder: Path, days: float, *, began_days: float = -90) -> Path:
    """A certificate with its key in one file, good from and until so many days from now."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sip.example.com")])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(7).not_valid_before(now + timedelta(days=began_days)).not_valid_after(now + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = folder / "sip.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


async def named(settings: Settings) -> dict[str, Result]:
    found = await host_checks(settings, running=False)
    assert all(one.detail and one.ok == (one.fix == "") for one in found), found
    return {one.check: one for one in found}


@pytest.mark.parametrize(
    ("days", "began", "words"),
    [(90, -1, "good until"), (7.5, -90, "in 7 days"), (-1, -90, "expired on"), (90, 1, "not valid before")],
)
async def test_a_certificate_and_its_end(tmp_path: Path, days: float, began: float, words: str) -> None:
    path = certificate(tmp_path, days, began_days=began)
    found = (await named(Settings(state_dir=tmp_path, sip_tls_certificate=path)))["sip certificate"]
    assert words in found.detail
    assert found.ok == (words == "good until")


async def test_folders(tmp_path: Path) -> None:
    found = await named(Settings(state_dir=tmp_path / "state", recording="all"))
    assert "can be written" in found["state folder"].detail
    assert found["recordings"].ok
    assert os.listdir(tmp_path) == []  # looking leaves nothing behind
    (tmp_path / "file").touch()
    found = await named(
        Settings(state_dir=tmp_path, recording="all", recording_dir=tmp_path / "file", recording_min_free_mb=0)
    )
    assert "cannot be written" in found["recordings"].detail
    full = await named(Settings(state_dir=tmp_path, recording="all", recording_min_free_mb=1_000_000))
    assert "MB free, less than 1000000" in full["recordings"].detail
    assert "recordings" not in await named(Settings(state_dir=tmp_path, recording="off"))


async def test_shared_ports(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = await named(Settings(state_dir=tmp_path, sip_host="127.0.0.1", sip_ws_port=taken.getsockname()[1]))
    assert "in use" in found["sip ws port"].detail
    assert "free" in (await named(Settings(state_dir=tmp_path, sip_ws_port=free_ports())))["sip ws port"].detail


async def test_registration_and_webhooks(tmp_path: Path) -> None:
    store = await Store.open(Settings(state_dir=tmp_path))
    try:
        key, _ = await store.keys.create("acme")
        account = key.account
        assert await account_checks(store, account, running=True, registers=True) == []
        async with store.journal.running():
            for state in ("registered", "refused"):
                data = {"state": state, "detail": "403"}
                store.journal.add(
                    lambda session, data=data: append_event(  # type: ignore[misc]
                        session, account.id, "registration.state", datetime.now(UTC), data, None
                    )
                )
        hook = await store.webhooks.create(account.id, "https://example.com/", "whsec_eA==", ())
        assert hook is not None
        registration, hooks = await account_checks(store, account, running=True, registers=True)
        assert (registration.check, registration.ok, registration.detail) == (
            "acme: registration", False, "refused: 403",
        )  # fmt: skip
        assert (hooks.ok, hooks.detail) == (True, "1 webhooks, 0 of them failing now, 0 switched off by failures")
        # of a gateway that does not run, nobody knows
        assert [one.check for one in await account_checks(store, account, running=False, registers=True)] == [
            "acme: webhooks"
        ]
    finally:
        await store.close()


def test_what_a_running_gateway_says_of_itself(environment: dict[str, str], ponte: Callable[..., Done]) -> None:
    ponte("keys", "create")
    with serving(environment, "--no-wasm") as (_, api_port):
        told = json.loads(ponte("doctor", "--json", "--api-port", str(api_port), expect=1).stdout)
    assert set(told) == {"ok", "checks"}
    assert all(set(one) == {"check", "ok", "detail", "fix"} for one in told["checks"])
    by_name = {one["check"]: one for one in told["checks"]}
    assert by_name["gateway: database"]["ok"] is True
    assert by_name["state folder"]["ok"] is True
    assert by_name["default: configuration"]["ok"] is False
