"""What the commands of the command line share."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar, get_args

from pydantic import SecretStr

from gateway.config import Settings, flag_of, load_settings
from gateway.store.store import Store

T = TypeVar("T")

STORE_SETTINGS: Final = ("state_dir", "database_url", "secret_key_file", "recording_dir")


def add_settings(parser: argparse.ArgumentParser, names: Sequence[str]) -> None:
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
            metavar = "FILE" if Path in (field.annotation, *get_args(field.annotation)) else "VALUE"
            group.add_argument(flag_of(name), dest=f"setting_{name}", metavar=metavar, help=text)


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Return the settings: flags, environment, file, defaults.

    Raises:
        ConfigError: one of them is wrong.
    """
    prefix = "setting_"
    flags = {name.removeprefix(prefix): value for name, value in vars(arguments).items() if name.startswith(prefix)}
    return load_settings(flags, config_file=arguments.config)


async def with_store(settings: Settings, work: Callable[[Store], Awaitable[T]]) -> T:
    """Do something with the store, open for that long."""
    store = await Store.open(settings)
    try:
        return await work(store)
    finally:
        await store.close()


def time_of(value: datetime | None) -> str | None:
    """Return a time for people and programs, to the second."""
    return value.isoformat(timespec="seconds") if value is not None else None
