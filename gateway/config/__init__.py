"""Process settings: flag > environment > file > default. The only package that reads the environment.

Each setting is ``PONTE_<NAME>`` in the environment, ``<name>`` in the TOML file and ``--<name>`` on the command line
(secrets have no flag: a command line is visible to every user of the machine). An unknown key is an error everywhere.
What belongs to one account is not here but in its configuration (`gateway.domain.bridge_config`).
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from gateway.config.api import ApiSettings
from gateway.config.calls import CallSettings
from gateway.config.logs import LogSettings
from gateway.config.media import MediaSettings
from gateway.config.numbers import NumberSettings
from gateway.config.page import PageSettings
from gateway.config.recording import RecordingSettings
from gateway.config.sip import SipSettings
from gateway.config.store import StoreSettings
from gateway.domain.errors import ConfigError

ENV_PREFIX: Final = "PONTE_"
CONFIG_FILE_VARIABLE: Final = "PONTE_CONFIG"

_OTHER_PROGRAMS: Final = ("HELPER_", "WASM_", "STANDIN_", "SANDBOX_", "DEMO_", "TEST_", "BENCH_")
"""What may follow the prefix in variables that other programs of the project read, so that they are no errors here."""
CLIENT_KEY_VARIABLE: Final = "PONTE_API_KEY"  # for commands that ask a gateway, and for `ponte keys create --key`
_OTHER_VARIABLES: Final = frozenset({CONFIG_FILE_VARIABLE, CLIENT_KEY_VARIABLE})


# The fields of the last class come first in `ponte serve --help`. Validators of all of them need names of their own:
# one that has the name of another replaces it.
class Settings(
    LogSettings, StoreSettings, RecordingSettings, PageSettings, CallSettings, NumberSettings, MediaSettings,
    SipSettings, ApiSettings, BaseSettings,
):  # fmt: skip
    """The settings of one gateway process. Each default says its unit, where it has one, and its reason."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,  # compose files pass unset variables as empty strings
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,  # a mistyped secret must not end up in the error text
        validate_default=True,
    )

    @property
    def effective_recording_dir(self) -> Path:
        """The folder of recordings with the default filled in."""
        return self.recording_dir or self.state_dir / "recordings"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags and environment only; `load_settings` adds the file below them."""
        return init_settings, env_settings


def load_settings(flags: Mapping[str, object] | None = None, *, config_file: Path | None = None) -> Settings:
    """Read the settings of this process.

    Args:
        flags: values from the command line, by setting name; those that are None count as not given.
        config_file: TOML file; default: the one that PONTE_CONFIG names, else none.

    Raises:
        ConfigError: a value or a name is wrong; the sentence names it, and never holds a secret.
    """
    environ = {name.upper(): value for name, value in os.environ.items() if name.upper().startswith(ENV_PREFIX)}
    _refuse_unknown_variables(environ)
    if config_file is None and environ.get(CONFIG_FILE_VARIABLE):
        config_file = Path(environ[CONFIG_FILE_VARIABLE])
    values = _read_file(config_file) if config_file is not None else {}
    values = {name: value for name, value in values.items() if not environ.get(ENV_PREFIX + name.upper())}
    values |= {name: value for name, value in (flags or {}).items() if value is not None}
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise ConfigError(f"Bad setting{' ' + name if name else ''}: {message}{more}", name or None) from None


def _read_file(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"Cannot read the configuration file {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"The configuration file {path} is not valid TOML: {error}") from None
    for name in values:
        if name not in Settings.model_fields:
            raise ConfigError(f"Unknown setting {name} in {path}{_did_you_mean(name)}", name)
    return values


def _refuse_unknown_variables(environ: Mapping[str, str]) -> None:
    for variable in environ:
        name = variable.removeprefix(ENV_PREFIX)
        known = variable in _OTHER_VARIABLES or name.lower() in Settings.model_fields
        if not known and not name.startswith(_OTHER_PROGRAMS):
            hint = _did_you_mean(name.lower(), upper=True)
            raise ConfigError(f"Unknown setting {variable} in the environment{hint}", name.lower())


def _did_you_mean(name: str, *, upper: bool = False) -> str:
    near = difflib.get_close_matches(name, Settings.model_fields, n=1, cutoff=0.7)
    if not near:
        return ""
    return f"; did you mean {ENV_PREFIX + near[0].upper() if upper else near[0]}?"


def child_environment() -> dict[str, str]:
    """Return this process's environment for a child that needs no secrets: nothing of Ponte's own, none of OTEL_*."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith((ENV_PREFIX, "OTEL_"))}


def flag_of(name: str) -> str:
    """Return the command line flag of the setting *name*."""
    return "--" + name.replace("_", "-")


def client_key() -> str | None:
    """Return the API key that commands send to a running gateway, None where none is given."""
    return os.environ.get(CLIENT_KEY_VARIABLE) or None
