"""What `ponte doctor` checks of this machine and of the gateway that runs: disks, folders, certificates, readiness."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from gateway.accounts.checks import Result, can_bind, check
from gateway.accounts.sip_side import stack_settings
from gateway.config import Settings
from gateway.domain.errors import ConfigError, Unavailable
from gateway.media.compiled import Compiled, packet_path
from gateway.sip.stack import SipStack
from gateway.store.keys import Account
from gateway.store.store import Store

_MB: Final = 1_000_000
_FREE_BYTES: Final = 200 * _MB  # a busy gateway's database and log of some weeks
_EXPIRES_SOON: Final = timedelta(days=14)  # renewals by ACME come a month before the end
_MOST_BYTES: Final = 64 * 1024


async def host_checks(settings: Settings, running: bool) -> list[Result]:
    """Run the checks that are about no account.

    Args:
        settings: the process settings.
        running: whether the gateway runs, and so has its ports.
    """
    found = [
        await check("state folder", "free some space, or set PONTE_STATE_DIR", lambda: _state(settings)),
        _packet_path(),
    ]
    if settings.recording != "off":
        fix = "make it writable, free some space, or set PONTE_RECORDING_DIR"
        found.append(await check("recordings", fix, lambda: _recordings(settings)))
    if settings.sip_tls_certificate is not None:
        fix = "renew it, and check PONTE_SIP_TLS_CERTIFICATE and PONTE_SIP_TLS_KEY"
        found.append(await check("sip certificate", fix, lambda: _certificate(settings)))
    shared = {
        "tls": settings.sip_tls_port, "ws": settings.sip_ws_port, "wss": settings.sip_wss_port,
    }  # fmt: skip
    for name, port in shared.items():
        if port:
            fix = f"free the port, or set PONTE_SIP_{name.upper()}_PORT"
            work = _port(settings, port, running)
            found.append(await check(f"sip {name} port", fix, lambda work=work: _given(work)))  # type: ignore[misc]
    if running:
        found += await _ready(settings)
    return found


def _packet_path() -> Result:
    match packet_path():
        case Compiled.OUTDATED:
            detail, fix = "compiled from an older source than the one that is here, and runs as that", "make install"
        case Compiled.INTERPRETED:
            detail, fix = "interpreted: right, but calls take half as much processor time again (docs/media.md)", ""
        case Compiled.COMPILED:
            detail, fix = "compiled", ""
    return Result("packet path", not fix, detail, fix)


async def account_checks(store: Store, account: Account, *, running: bool, registers: bool) -> list[Result]:
    """Run the checks of what an account's database says of it.

    Args:
        store: the database.
        account: which.
        running: whether the gateway runs: what it wrote last is true now.
        registers: whether the account is to be registered at its PBX.
    """
    found: list[Result] = []
    told = await store.events.latest(account.id, "registration.state") if running and registers else None
    if told is not None:
        state, detail = str(told.data.get("state")), str(told.data.get("detail") or "")
        fix = "" if state == "registered" else "check sipUser and sipPass, and what the PBX says of its registrations"
        found.append(Result(f"{account.name}: registration", not fix, f"{state}: {detail}" if detail else state, fix))
    hooks = await store.webhooks.of_account(account.id)
    if hooks:
        off = [hook for hook in hooks if hook.disabled_reason]
        failing = [hook for hook in hooks if hook.failures and not hook.disabled_reason]
        detail = f"{len(hooks)} webhooks, {len(failing)} of them failing now, {len(off)} switched off by failures"
        fix = "see GET /webhooks/{id}/deliveries, mend the receiver, and switch it on again" if off or failing else ""
        found.append(Result(f"{account.name}: webhooks", not fix, detail, fix))
    return found


async def _given(work: str | Exception) -> str:
    if isinstance(work, Exception):
        raise work
    return work


def _port(settings: Settings, port: int, running: bool) -> str | Exception:
    if running:
        return f"port {port}: left to the gateway, which runs"
    if not can_bind(settings.sip_host, port, socket.SOCK_STREAM):
        return Unavailable(f"port {port} is in use by another program")
    return f"port {port} is free"


async def _state(settings: Settings) -> str:
    return await asyncio.to_thread(_folder, settings.state_dir, _FREE_BYTES)


async def _recordings(settings: Settings) -> str:
    least = max(settings.recording_min_free_mb * _MB, _FREE_BYTES)
    return await asyncio.to_thread(_folder, settings.effective_recording_dir, least)


def _folder(folder: Path, least_bytes: int) -> str:
    """Try to write there, and look at the space; a folder that is not there yet is made by the gateway."""
    place = next((one for one in (folder, *folder.parents) if one.exists()), folder)
    try:
        with tempfile.TemporaryFile(dir=place) as trial:
            trial.write(b"ponte")
            trial.flush()
            os.fsync(trial.fileno())
    except OSError as error:
        raise Unavailable(f"{folder} cannot be written: {error.strerror or error}") from None
    free = shutil.disk_usage(place).free
    if free < least_bytes:
        raise Unavailable(f"{folder} has {free // _MB} MB free, less than {least_bytes // _MB}")
    return f"{folder} can be written, {free // _MB} MB free"


async def _certificate(settings: Settings) -> str:
    path = settings.sip_tls_certificate
    assert path is not None
    stack = SipStack(stack_settings(settings, listen=False))
    await stack.start()  # a certificate that cannot be loaded, or of another key, is told here
    await stack.close()
    try:
        ours = x509.load_pem_x509_certificate(await asyncio.to_thread(path.read_bytes))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", "sip_tls_certificate") from None
    now, end = datetime.now(UTC), ours.not_valid_after_utc
    if end <= now:
        raise Unavailable(f"{path} expired on {end:%Y-%m-%d}")
    if ours.not_valid_before_utc > now:
        raise Unavailable(f"{path} is not valid before {ours.not_valid_before_utc:%Y-%m-%d %H:%M} UTC")
    if end - now < _EXPIRES_SOON:
        raise Unavailable(f"{path} expires on {end:%Y-%m-%d}, in {(end - now).days} days")
    return f"{path} is good until {end:%Y-%m-%d}"


async def _ready(settings: Settings) -> list[Result]:
    """What the running gateway says of what it depends on: database, media workers and the like."""
    try:
        async with asyncio.timeout(settings.http_timeout_s):
            checks = (await _readyz(settings))["checks"]
        rows = [(str(name), bool(one["ok"]), str(one["detail"])) for name, one in checks.items()]
    except (OSError, TimeoutError, KeyError, TypeError, ValueError, AttributeError):
        return [Result("gateway: readiness", False, "GET /readyz gives no answer that can be read", "see its log")]
    return [
        Result(f"gateway: {name}", ok, detail or "fit", "" if ok else "see the gateway's log and docs/operations.md")
        for name, ok, detail in rows
    ]


async def _readyz(settings: Settings) -> Any:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.api_host, settings.api_host)
    reader, writer = await asyncio.open_connection(host, settings.api_port)
    try:
        writer.write(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")
        answer = await reader.read(_MOST_BYTES)
        while part := await reader.read(_MOST_BYTES):
            answer += part
    finally:
        writer.close()
    return json.loads(answer.partition(b"\r\n\r\n")[2])
