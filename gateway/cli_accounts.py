"""``ponte accounts`` and ``ponte admin-keys``: on the database, whether a gateway runs on it or not."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import Any

from gateway.accounts.profiles import delete_profile, in_use, profile_folder
from gateway.cli_support import STORE_SETTINGS, add_settings, settings_of, time_of, with_store
from gateway.domain.accounts import AccountInCall
from gateway.domain.errors import ConfigError
from gateway.store.accounts import StoredAccount
from gateway.store.admin_keys import AdminKey
from gateway.store.keys import ApiKey
from gateway.store.store import Store


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add both commands."""
    accounts = commands.add_parser("accounts", help="accounts: add, list, show, remove; their keys")
    parsers = accounts.add_subparsers(required=True, metavar="COMMAND")
    add = parsers.add_parser("add", help="make an account and its first key, which is printed once")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--label", metavar="TEXT", default="", help="a note on the key")
    add.add_argument("--key", metavar="VALUE", help="choose the key (sandboxes only: others can see it)")
    add.set_defaults(run=_add)
    listing = parsers.add_parser("list", help="list the accounts")
    listing.add_argument("--removed", action="store_true", help="those as well of which only call records are left")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(run=_list)
    show = parsers.add_parser("show", help="show one account and its keys")
    show.add_argument("name", metavar="NAME")
    show.add_argument("--json", action="store_true", help="print JSON")
    show.set_defaults(run=_show)
    remove = parsers.add_parser("remove", help="end an account, delete its secrets and its Chrome profile")
    remove.add_argument("name", metavar="NAME")
    remove.add_argument("--force", action="store_true", help="also while a call is in progress, which ends")
    remove.add_argument("--delete-calls", action="store_true", help="delete its call records as well")
    remove.set_defaults(run=_remove)
    keys = parsers.add_parser("keys", help="keys of an account").add_subparsers(required=True, metavar="COMMAND")
    key_add = keys.add_parser("add", help="make one more key, which is printed once")
    key_add.add_argument("name", metavar="NAME")
    key_add.add_argument("--label", metavar="TEXT", default="", help="a note for yourself")
    key_add.set_defaults(run=_key_add)
    key_revoke = keys.add_parser("revoke", help="revoke a key by its id")
    key_revoke.add_argument("name", metavar="NAME")
    key_revoke.add_argument("id", metavar="ID")
    key_revoke.set_defaults(run=_key_revoke)

    admin = commands.add_parser("admin-keys", help="keys for the admin API").add_subparsers(
        required=True, metavar="COMMAND"
    )
    admin_create = admin.add_parser("create", help="make an admin key; prints it once")
    admin_create.add_argument("--label", metavar="TEXT", default="", help="a note for yourself")
    admin_create.set_defaults(run=_admin_create)
    admin_list = admin.add_parser("list", help="list admin keys; the keys themselves are not stored")
    admin_list.add_argument("--json", action="store_true", help="print JSON")
    admin_list.set_defaults(run=_admin_list)
    admin_revoke = admin.add_parser("revoke", help="revoke an admin key by its id")
    admin_revoke.add_argument("id", metavar="ID")
    admin_revoke.set_defaults(run=_admin_revoke)
    for one in (add, listing, show, remove, key_add, key_revoke, admin_create, admin_list, admin_revoke):
        add_settings(one, STORE_SETTINGS)


def _add(arguments: argparse.Namespace) -> int:
    async def work(store: Store) -> tuple[ApiKey, str]:
        return await store.keys.create(arguments.name, label=arguments.label, key=arguments.key, account="new")

    key, plain = asyncio.run(with_store(settings_of(arguments), work))
    print(f"Account {key.account.name} ({key.account.id}), key {key.id}. It is shown this once:", file=sys.stderr)
    print(plain)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    found = asyncio.run(
        with_store(settings_of(arguments), lambda store: store.accounts.list(removed=arguments.removed))
    )
    rows = [_row(one) for one in found]
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return 0
    for row in rows:
        print(f"{row['name']}  {row['id']}  {row['created_at']}  {_state(row)}")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    async def work(store: Store) -> dict[str, Any]:
        one = await _find(store, arguments.name)
        keys = await store.keys.list(one.account.name)
        return _row(one) | {"open_calls": await store.accounts.open_calls(one.account.id), "keys": _keys(keys)}

    row = asyncio.run(with_store(settings_of(arguments), work))
    if arguments.json:
        print(json.dumps(row, indent=2))
        return 0
    print(f"{row['name']}  {row['id']}  {row['created_at']}  {_state(row)}  calls in progress: {row['open_calls']}")
    for key in row["keys"]:
        print(f"  key {_key_line(key)}")
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)

    async def work(store: Store) -> StoredAccount:
        one = await _find(store, arguments.name)
        if not arguments.force and await store.accounts.open_calls(one.account.id):
            raise AccountInCall
        await store.accounts.remove(one.account.id, delete_calls=arguments.delete_calls)
        return one

    removed = asyncio.run(with_store(settings, work))
    print(f"Removed: {removed.account.name}")
    profile = profile_folder(settings.state_dir, removed.account.id)
    if profile.exists() and (in_use(profile) or not delete_profile(profile)):
        print(
            "ponte: its Chrome profile is in use: a running gateway deletes it within seconds, else its next start",
            file=sys.stderr,
        )
    return 0


def _key_add(arguments: argparse.Namespace) -> int:
    async def work(store: Store) -> tuple[ApiKey, str]:
        one = await _find(store, arguments.name)
        return await store.keys.create(one.account.name, label=arguments.label, account="known")

    key, plain = asyncio.run(with_store(settings_of(arguments), work))
    print(f"Key {key.id} of account {key.account.name}. It is shown this once:", file=sys.stderr)
    print(plain)
    return 0


def _key_revoke(arguments: argparse.Namespace) -> int:
    async def work(store: Store) -> bool:
        one = await _find(store, arguments.name)
        mine = {key.id for key in await store.keys.list(one.account.name)}
        return arguments.id in mine and await store.keys.revoke(arguments.id)

    return _revoked(arguments.id, asyncio.run(with_store(settings_of(arguments), work)), "ponte accounts show")


def _admin_create(arguments: argparse.Namespace) -> int:
    async def work(store: Store) -> tuple[AdminKey, str]:
        return await store.admin_keys.create(label=arguments.label)

    key, plain = asyncio.run(with_store(settings_of(arguments), work))
    print(f"Admin key {key.id}. It is shown this once:", file=sys.stderr)
    print(plain)
    return 0


def _admin_list(arguments: argparse.Namespace) -> int:
    rows = _keys(asyncio.run(with_store(settings_of(arguments), lambda store: store.admin_keys.list())))
    print(json.dumps(rows, indent=2) if arguments.json else "\n".join(_key_line(row) for row in rows))
    return 0


def _admin_revoke(arguments: argparse.Namespace) -> int:
    found = asyncio.run(with_store(settings_of(arguments), lambda store: store.admin_keys.revoke(arguments.id)))
    return _revoked(arguments.id, found, "ponte admin-keys list")


async def _find(store: Store, name: str) -> StoredAccount:
    found = await store.accounts.find(name)
    if found is None:
        raise ConfigError(f"No account is called {name!r}; see ponte accounts list", "account")
    return found


def _row(one: StoredAccount) -> dict[str, Any]:
    return {
        "name": one.account.name,
        "id": one.account.id,
        "created_at": time_of(one.account.created_at),
        "enabled": one.enabled,
        "removed_at": time_of(one.removed_at),
    }


def _state(row: dict[str, Any]) -> str:
    if row["removed_at"]:
        return f"removed {row['removed_at']}"
    return {None: "not configured", False: "disabled", True: "enabled"}[row["enabled"]]


def _keys(keys: list[ApiKey] | list[AdminKey]) -> list[dict[str, Any]]:
    return [
        {
            "id": key.id,
            "label": key.label,
            "created_at": time_of(key.created_at),
            "revoked_at": time_of(key.revoked_at),
        }
        for key in keys
    ]


def _key_line(row: dict[str, Any]) -> str:
    state = f"revoked {row['revoked_at']}" if row["revoked_at"] else "active"
    return f"{row['id']}  {row['created_at']}  {state}  {row['label']}".rstrip()


def _revoked(key_id: str, found: bool, where: str) -> int:
    if not found:
        print(f"ponte: there is no such key; see {where}", file=sys.stderr)
        return 1
    print(f"Revoked: {key_id}")
    return 0
