"""The command line: ``ponte serve | doctor | keys | erase | version``.

The gateway's parts are imported by the commands that need them: ``ponte keys`` is used by scripts, and aiortc alone
takes half a second to load.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import SecretStr

from gateway import __version__
from gateway.config import Settings, flag_of, load_settings
from gateway.domain.errors import ConfigError, PonteError
from gateway.ops.logs import configure_logging
from gateway.store.keys import ApiKey
from gateway.store.store import Store

T = TypeVar("T")

_STORE_SETTINGS = ("state_dir", "database_url", "secret_key_file")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0 well, 1 failed, 2 wrong usage or settings."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except PonteError as error:
        return _say(error)
    except BaseExceptionGroup as group:
        # A part that could not start inside a task group: one sentence is enough, where that is all there is.
        known, rest = group.split(PonteError)
        if known is None or rest is not None:
            raise
        return _say(known)
    except KeyboardInterrupt:
        return 130


def _say(error: BaseException) -> int:
    """Print the sentences of a group of errors, and return the exit status."""
    if isinstance(error, BaseExceptionGroup):
        return max(_say(inner) for inner in error.exceptions)
    print(f"ponte: {error}", file=sys.stderr)
    return 2 if isinstance(error, ConfigError) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ponte", description="Bridges WhatsApp Web calls to SIP")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="run the gateway")
    serve.add_argument("--no-wasm", action="store_true", help="do not start the wasm server as well")
    serve.set_defaults(run=_serve)
    _add_settings(serve, tuple(Settings.model_fields))

    check = commands.add_parser("doctor", help="check everything that calls need; one line a check")
    check.add_argument("--account", metavar="NAME", help="check this account only; default: all")
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(run=_doctor)
    _add_settings(check, tuple(Settings.model_fields))

    keys = commands.add_parser("keys", help="API keys").add_subparsers(required=True, metavar="COMMAND")
    create = keys.add_parser("create", help="make a key, and its account if it is new; prints the key once")
    create.add_argument("--account", metavar="NAME", default="default")
    create.add_argument("--label", metavar="TEXT", default="", help="a note for yourself")
    create.add_argument("--key", metavar="VALUE", help="choose the key (sandboxes only: others can see it)")
    create.set_defaults(run=_keys_create)
    listing = keys.add_parser("list", help="list keys; the keys themselves are not stored")
    listing.add_argument("--account", metavar="NAME")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(run=_keys_list)
    revoke = keys.add_parser("revoke", help="revoke one key by its id, or all keys of an account")
    which = revoke.add_mutually_exclusive_group(required=True)
    which.add_argument("id", nargs="?")
    which.add_argument("--account", metavar="NAME", help="revoke all its keys")
    revoke.set_defaults(run=_keys_revoke)
    for sub in (create, listing, revoke):
        _add_settings(sub, _STORE_SETTINGS)

    erase = commands.add_parser("erase", help="delete what is stored of one person: their calls' records")
    erase.add_argument("number", metavar="NUMBER", help="with its country code, for example +5511987654321")
    erase.add_argument("--account", metavar="NAME", required=True)
    erase.set_defaults(run=_erase)
    _add_settings(erase, _STORE_SETTINGS)

    version = commands.add_parser("version", help="print the version")
    version.set_defaults(run=_version)
    return parser


def _add_settings(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
    """Add the flags of settings. Secrets have none: every user of a machine can read command lines."""
    group = parser.add_argument_group("settings (each also as PONTE_<NAME>, and in the configuration file)")
    group.add_argument("--config", metavar="FILE", type=Path, help="TOML file with settings")
    for name in names:
        field = Settings.model_fields[name]
        if field.annotation == (SecretStr | None):
            continue
        text = (field.description or "").replace("%", "%%")
        if field.annotation is bool:
            group.add_argument(flag_of(name), dest=f"setting_{name}", action="store_const", const=True, help=text)
        else:
            group.add_argument(flag_of(name), dest=f"setting_{name}", metavar="VALUE", help=text)


def _settings(arguments: argparse.Namespace) -> Settings:
    prefix = "setting_"
    flags = {name.removeprefix(prefix): value for name, value in vars(arguments).items() if name.startswith(prefix)}
    return load_settings(flags, config_file=arguments.config)


def _set_up_logging(settings: Settings) -> None:
    configure_logging(log_format=settings.log_format, level=settings.log_level, drop_pii=settings.log_drop_pii)


def _serve(arguments: argparse.Namespace) -> int:
    from gateway import service
    from gateway.accounts.service import open_accounts

    settings = _settings(arguments)
    _set_up_logging(settings)
    asyncio.run(service.serve(settings, open_accounts, with_wasm=not arguments.no_wasm, on_ready=service.print_ready))
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from gateway import doctor

    settings = _settings(arguments)
    configure_logging(log_format=settings.log_format, level="error")
    results = asyncio.run(doctor.run(settings, account=arguments.account))
    print(doctor.as_json(results) if arguments.json else doctor.as_text(results))
    return 0 if all(result.ok for result in results) else 1


async def _with_store(settings: Settings, work: Callable[[Store], Awaitable[T]]) -> T:
    store = await Store.open(settings)
    try:
        return await work(store)
    finally:
        await store.close()


def _keys_create(arguments: argparse.Namespace) -> int:
    async def work(store: Store) -> tuple[ApiKey, str]:
        return await store.keys.create(arguments.account, label=arguments.label, key=arguments.key)

    key, plain = asyncio.run(_with_store(_settings(arguments), work))
    print(f"Key {key.id} of account {key.account.name}. It is shown this once:", file=sys.stderr)
    print(plain)
    return 0


def _keys_list(arguments: argparse.Namespace) -> int:
    keys = asyncio.run(_with_store(_settings(arguments), lambda store: store.keys.list(arguments.account)))
    rows = [
        {
            "id": key.id,
            "account": key.account.name,
            "label": key.label,
            "created_at": key.created_at.isoformat(timespec="seconds"),
            "revoked_at": key.revoked_at.isoformat(timespec="seconds") if key.revoked_at else None,
        }
        for key in keys
    ]
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return 0
    for row in rows:
        state = f"revoked {row['revoked_at']}" if row["revoked_at"] else "active"
        print(f"{row['id']}  {row['account']}  {row['created_at']}  {state}  {row['label']}".rstrip())
    return 0


def _keys_revoke(arguments: argparse.Namespace) -> int:
    async def work(store: Store) -> list[str]:
        if arguments.id is not None:
            return [arguments.id] if await store.keys.revoke(arguments.id) else []
        active = [key.id for key in await store.keys.list(arguments.account) if key.revoked_at is None]
        for key_id in active:
            await store.keys.revoke(key_id)
        return active

    revoked = asyncio.run(_with_store(_settings(arguments), work))
    if not revoked:
        print("ponte: there is no such key; see ponte keys list", file=sys.stderr)
        return 1
    print(f"Revoked: {' '.join(revoked)}")
    return 0


def _erase(arguments: argparse.Namespace) -> int:
    number = arguments.number.removeprefix("+")
    if not (number.isascii() and number.isdigit()):
        raise ConfigError("The number must be digits with the country code, for example +5511987654321", "number")

    async def work(store: Store) -> int:
        accounts = [one for one in await store.keys.accounts() if one.name == arguments.account]
        if not accounts:
            raise ConfigError(f"No account is called {arguments.account!r}", "account")
        return await store.erase(accounts[0].id, number)

    print(f"Deleted: {asyncio.run(_with_store(_settings(arguments), work))} call records")
    return 0


def _version(arguments: argparse.Namespace) -> int:
    print(f"ponte {__version__}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
