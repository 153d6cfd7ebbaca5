"""``ponte call``: a test call with a tone, by a phone of its own at the gateway's listener."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from gateway.cli_support import STORE_SETTINGS, add_settings, settings_of, with_store
from gateway.domain.errors import ConfigError, PonteError
from gateway.ops.logs import configure_logging

if TYPE_CHECKING:
    from gateway.config import Settings
    from gateway.domain.bridge_config import BridgeConfig
    from gateway.domain.ids import AccountId
    from gateway.store.calls import CallRecord
    from gateway.store.store import Store
    from gateway.tone_phone import Phoned
    from gateway.tone_verdict import Finding

_RECORD_S: Final = 8.0  # the call ends within 5 s of the BYE, and its record is written then
_LOOK_S: Final = 0.2
_SECONDS: Final = (2.0, 600.0)


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    call = commands.add_parser(
        "call",
        help="place a test call to WhatsApp with a tone check",
        description="Calls a WhatsApp number by way of the running gateway, as a phone of the PBX would, with the "
        "account's sipListenUser and sipListenSecret. When it is answered it plays bursts of a tone and measures what "
        "comes back. It really rings somebody. Ctrl-C hangs up",
    )
    call.add_argument("number", metavar="NUMBER", help="with its country code, for example +5511987654321")
    call.add_argument("--account", metavar="NAME", help="whose line; default: that of the only account")
    call.add_argument(
        "--ring-s", metavar="SECONDS", type=_seconds, default=60.0, help="how long it may ring; default: 60"
    )
    call.add_argument(
        "--talk-s", metavar="SECONDS", type=_seconds, default=10.0, help="how long the tone plays; default: 10"
    )
    call.add_argument("--silent", action="store_true", help="well also where nothing is heard of WhatsApp's side")
    call.add_argument("--echo", action="store_true", help="well only where the tone comes back: the phone is on loud")
    call.add_argument("--json", action="store_true", help="print JSON")
    call.set_defaults(run=_call)
    add_settings(call, (*STORE_SETTINGS, "sip_host"))


def _seconds(text: str) -> float:
    seconds = float(text)
    if not _SECONDS[0] <= seconds <= _SECONDS[1]:
        raise ValueError
    return seconds


def _call(arguments: argparse.Namespace) -> int:
    from gateway.tone_verdict import judge

    settings = settings_of(arguments)
    configure_logging(log_format=settings.log_format, level="error")
    digits = arguments.number.removeprefix("+")
    if not (digits.isascii() and digits.isdigit() and 5 <= len(digits) <= 15):
        raise ConfigError("The number must be digits with the country code, for example +5511987654321", "number")
    found, record = asyncio.run(with_store(settings, lambda store: _placed(store, settings, arguments, digits)))
    findings = judge(found, _quality(record), silent=arguments.silent, echo=arguments.echo)
    call_id = record.id if record is not None else None
    print(_as_json(call_id, found, findings) if arguments.json else _as_text(call_id, findings))
    return 0 if all(one.ok for one in findings) else 1


async def _placed(
    store: Store, settings: Settings, arguments: argparse.Namespace, digits: str
) -> tuple[Phoned, CallRecord | None]:
    from gateway.tone_phone import ToneCall, phone

    account = await _account(store, arguments.account)
    config = await store.configs.load(account)
    if config is None or not config.enabled:
        raise PonteError("The bridge of this account is not enabled")
    wanted = ToneCall(
        _listener(settings), config.sip_listen_port, f"+{digits}", config.sip_listen_user or "",
        config.sip_listen_secret or "", arguments.ring_s, arguments.talk_s,
    )  # fmt: skip

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    say(f"calling by {wanted.host} port {wanted.port}; Ctrl-C hangs up")
    since = datetime.now(UTC) - timedelta(seconds=1)
    found = await phone(wanted, say)
    return _explained(found, config), await _record(store, account, digits, since)


async def _account(store: Store, name: str | None) -> AccountId:
    found = [one for one in await store.keys.accounts() if name in (None, one.name)]
    if name is not None and not found:
        raise ConfigError(f"No account is called {name!r}", "account")
    if len(found) != 1:
        raise ConfigError("Say by --account whose line to call by" if found else "There is no account yet", "account")
    return found[0].id


def _listener(settings: Settings) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.sip_host, settings.sip_host)


def _explained(found: Phoned, config: BridgeConfig) -> Phoned:
    from dataclasses import replace

    if "answered 408" in found.failure and found.rang_s is None:
        return replace(found, failure=f"nobody answers at SIP port {config.sip_listen_port}; does the gateway run?")
    if not config.sip_listen_user and ("answered 403" in found.failure or "answered 401" in found.failure):
        text = f"{found.failure}: only sipServer may call; set sipListenUser and sipListenSecret"
        return replace(found, failure=text)
    return found


async def _record(store: Store, account: AccountId, digits: str, since: datetime) -> CallRecord | None:
    """Wait for the call's record; None where it left none."""
    from gateway.domain.states import Origin
    from gateway.store.calls import CallFilter

    record: CallRecord | None = None
    for _ in range(int(_RECORD_S / _LOOK_S)):
        page = await store.calls.page(account, CallFilter(origin=Origin.SIP, since=since), limit=10)
        # while it runs, a record has no number
        record = next((one for one in page if one.whatsapp_number in (None, digits)), None)
        if record is None or record.ended_at is not None:
            break
        await asyncio.sleep(_LOOK_S)
    return record


def _quality(record: CallRecord | None) -> Any:
    from gateway.events.quality import Quality

    return Quality.model_validate(record.quality) if record is not None and record.quality is not None else None


def _as_json(call_id: str | None, found: Phoned, findings: list[Finding]) -> str:
    ok = all(one.ok for one in findings)
    checks = [asdict(one) for one in findings]
    return json.dumps({"ok": ok, "call_id": call_id, "checks": checks, "figures": asdict(found)}, indent=2)


def _as_text(call_id: str | None, findings: list[Finding]) -> str:
    width = max(len(one.check) for one in findings)
    lines = [f"{'ok  ' if one.ok else 'FAIL'}  {one.check:{width}}  {one.detail}" for one in findings]
    lines.append("The call went well." if all(one.ok for one in findings) else "The call did not go well.")
    return "\n".join([*lines, f"What happened in it: ponte trace {call_id}"] if call_id else lines)
