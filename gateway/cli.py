"""The command line: ``ponte serve | doctor | call | trace | accounts | …``; docs/cli.md has all of it.

The gateway's parts are imported by the commands that need them: ``ponte keys`` is used by scripts, and aiortc alone
takes half a second to load.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence

from gateway import __version__, cli_call, cli_trace
from gateway.cli_accounts import add_commands
from gateway.cli_support import STORE_SETTINGS, add_settings, settings_of, time_of, with_store
from gateway.completion import SHELLS
from gateway.config import Settings
from gateway.domain.errors import ConfigError, PonteError
from gateway.ops.logs import configure_logging
from gateway.store.keys import ApiKey
from gateway.store.store import Store


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0 well, 1 failed, 2 wrong usage or settings."""
    arguments = parser().parse_args(argv)
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


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    root = argparse.ArgumentParser(prog="ponte", description="Bridges WhatsApp Web calls to SIP")
    commands = root.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="run the gateway")
    serve.add_argument("--no-wasm", action="store_true", help="do not start the wasm server as well")
    serve.set_defaults(run=_serve)
    add_settings(serve, tuple(Settings.model_fields))

    check = commands.add_parser("doctor", help="check everything that calls need; one line a check")
    check.add_argument("--account", metavar="NAME", help="check this account only; default: all")
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(run=_doctor)
    add_settings(check, tuple(Settings.model_fields))

    cli_call.add_command(commands)
    cli_trace.add_command(commands)
    add_commands(commands)

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
        add_settings(sub, STORE_SETTINGS)

    erase = commands.add_parser("erase", help="delete what is stored of one person: their calls' records")
    erase.add_argument("number", metavar="NUMBER", help="with its country code, for example +5511987654321")
    erase.add_argument("--account", metavar="NAME", required=True)
    erase.set_defaults(run=_erase)
    add_settings(erase, STORE_SETTINGS)

    completion = commands.add_parser("completion", help="print the completion of this command line for a shell")
    completion.add_argument("shell", choices=tuple(SHELLS))
    completion.set_defaults(run=_completion)

    version = commands.add_parser("version", help="print the version")
    version.set_defaults(run=_version)
    return root


def _set_up_logging(settings: Settings) -> None:
    configure_logging(log_format=settings.log_format, level=settings.log_level, drop_pii=settings.log_drop_pii)


def _serve(arguments: argparse.Namespace) -> int:
    import uvloop

    from gateway import service
    from gateway.accounts.service import open_accounts

    settings = settings_of(arguments)
    _set_up_logging(settings)
    uvloop.run(service.serve(settings, open_accounts, with_wasm=not arguments.no_wasm, on_ready=service.print_ready))
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from gateway import doctor

    settings = settings_of(arguments)
    configure_logging(log_format=settings.log_format, level="error")
    results = asyncio.run(doctor.run(settings, account=arguments.account))
    print(doctor.as_json(results) if arguments.json else doctor.as_text(results))
    return 0 if all(result.ok for result in results) else 1


def _keys_create(arguments: argparse.Namespace) -> int:
    async def work(store: Store) -> tuple[ApiKey, str]:
        return await store.keys.create(arguments.account, label=arguments.label, key=arguments.key)

    key, plain = asyncio.run(with_store(settings_of(arguments), work))
    print(f"Key {key.id} of account {key.account.name}. It is shown this once:", file=sys.stderr)
    print(plain)
    return 0


def _keys_list(arguments: argparse.Namespace) -> int:
    keys = asyncio.run(with_store(settings_of(arguments), lambda store: store.keys.list(arguments.account)))
    rows = [
        {
            "id": key.id,
            "account": key.account.name,
            "label": key.label,
            "created_at": time_of(key.created_at),
            "revoked_at": time_of(key.revoked_at),
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

    revoked = asyncio.run(with_store(settings_of(arguments), work))
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
        found = await store.accounts.find(arguments.account, removed=True)  # its records may have been kept
        if found is None:
            raise ConfigError(f"No account is called {arguments.account!r}", "account")
        return await store.erase(found.account.id, number)

    print(f"Deleted: {asyncio.run(with_store(settings_of(arguments), work))} call records")
    return 0


def _completion(arguments: argparse.Namespace) -> int:
    print(SHELLS[arguments.shell](parser()), end="")
    return 0


def _version(arguments: argparse.Namespace) -> int:
    print(f"ponte {__version__}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
