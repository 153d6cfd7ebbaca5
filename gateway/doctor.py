"""``ponte doctor``: checks everything that calls need, one line a check, each failure with the way to mend it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from dataclasses import asdict

from gateway.accounts.checks import AccountChecks, Result, can_bind, check
from gateway.config import Settings
from gateway.doctor_host import account_checks, host_checks
from gateway.domain.bridge_config import BridgeConfig
from gateway.domain.errors import PonteError, Unavailable
from gateway.media.rtpengine.client import NgClient
from gateway.store.keys import Account
from gateway.store.store import Store

_EARLIEST_S = 1_767_225_600  # 2026-01-01: this version is younger, so a clock before it is wrong


def as_text(results: list[Result]) -> str:
    """Return one line a check."""
    width = max((len(result.check) for result in results), default=0)
    lines = []
    for result in results:
        line = f"{'ok  ' if result.ok else 'FAIL'}  {result.check:{width}}  {result.detail}"
        lines.append(line + (f" -> {result.fix}" if result.fix else ""))
    return "\n".join(lines)


def as_json(results: list[Result]) -> str:
    """Return the checks as JSON."""
    ok = all(result.ok for result in results)
    return json.dumps({"ok": ok, "checks": [asdict(result) for result in results]}, indent=2)


async def run(settings: Settings, *, account: str | None = None) -> list[Result]:
    """Run all checks.

    Args:
        settings: the process settings.
        account: name of the only account to check; default: all that are configured.
    """
    results = [await check("clock", "set this machine's clock, by NTP", _clock)]
    running = await _gateway_runs(settings)
    results.append(await check("api", "free the port, or set PONTE_API_PORT", lambda: _api(settings, running)))
    results.append(await _media(settings))
    results += await host_checks(settings, running)
    try:
        store = await Store.open(settings)
    except PonteError as error:
        fix = "see PONTE_STATE_DIR, PONTE_DATABASE_URL and PONTE_SECRET_KEY_FILE"
        return [*results, Result("database", False, str(error), fix)]
    try:
        results.append(Result("database", True, "open, migrated, and its secrets can be read"))
        accounts = [one for one in await store.keys.accounts() if account in (None, one.name)]
        if not accounts:
            missing = f"no account is called {account!r}" if account else "there is no account yet"
            results.append(Result("accounts", False, missing, "ponte keys create"))
        for one in accounts:
            results += await _account(settings, store, one, running)
    finally:
        await store.close()
    return results


async def _account(settings: Settings, store: Store, account: Account, running: bool) -> list[Result]:
    config = await store.configs.load(account.id)
    if config is None or not config.enabled:
        detail = "not configured yet" if config is None else "the bridge is switched off"
        fix = 'POST /call/bridge/config with "enabled": true'
        return [Result(f"{account.name}: configuration", False, detail, fix)]
    checks = AccountChecks(settings, config, (lambda: _left_to_gateway(config)) if running else None)
    found = [await check(f"{account.name}: {name}", fix, work) for name, fix, work in checks.all()]
    return found + await account_checks(store, account, running=running, registers=bool(config.sip_user))


async def _left_to_gateway(config: BridgeConfig) -> str:
    return f"port {config.sip_listen_port}: left to the gateway, which runs"


async def _clock() -> str:
    now_s = time.time()
    text = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now_s))
    if now_s < _EARLIEST_S:
        raise Unavailable(f"it says {text}, which is before this version was made")
    return text


async def _gateway_runs(settings: Settings) -> bool:
    """Whether a gateway answers at the configured API port."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(settings.connect_timeout_s):
            reader, writer = await asyncio.open_connection(_reachable(settings.api_host), settings.api_port)
            try:
                writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                answer = await reader.read(4096)
            finally:
                writer.close()
            return answer.startswith(b"HTTP/1.1 200") and b"x-request-id" in answer.lower()
    return False


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


async def _api(settings: Settings, running: bool) -> str:
    where = f"port {settings.api_port} of {settings.api_host}"
    if running:
        return f"the gateway answers on {where}"
    if not can_bind(settings.api_host, settings.api_port, socket.SOCK_STREAM):
        raise Unavailable(f"{where} is in use by another program")
    return f"{where} is free; the gateway does not run"


async def _media(settings: Settings) -> Result:
    if settings.media == "rtpengine":
        fix = "start it, let it listen for ng there (listen-ng), or set PONTE_RTPENGINE"
        return await check("rtpengine", fix, lambda: _rtpengine(settings))
    return await check("rtp ports", "free them, or set PONTE_RTP_PORT_MIN and _MAX", lambda: _rtp_ports(settings))


async def _rtpengine(settings: Settings) -> str:
    host, port = settings.rtpengine_address
    client = NgClient(host, port)
    try:
        await client.ping()
    finally:
        client.close()
    keys = "" if settings.rtpengine_keys else "; keys in RTP are not heard, since PONTE_RTPENGINE_KEYS is empty"
    return f"answers at {host} port {port}{keys}"


async def _rtp_ports(settings: Settings) -> str:
    ports = range(settings.rtp_port_min, settings.rtp_port_max + 1)
    free = sum(can_bind("0.0.0.0", port, socket.SOCK_DGRAM) for port in ports)
    text = f"{free} of {len(ports)} UDP ports from {ports[0]} to {ports[-1]} are free"
    if free < 2:
        raise Unavailable(text + "; a call needs two")
    return text
