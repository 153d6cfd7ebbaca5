"""The twelve fields of ``POST /call/bridge/config``: their merge into what is stored, and every fault at once.

Pure: whether a host may be connected to is asked of a function given by the caller, whether a port is free is asked
of the account (`gateway.api.deps.Accounts.check`).
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from gateway.domain.errors import ConfigError
from gateway.domain.hosts import UrlParts, check_host, parse_sip_server, parse_url

MASK: Final = "***"
"""Stands for a stored secret in every answer; sent back, it keeps the stored one."""

DEFAULT_SIP_LISTEN_PORT: Final = 5080  # the seed
DEFAULT_WASM_SERVER_PORT: Final = 9080  # the seed

HostPolicy = Callable[[str], str | None]
"""Given a host (name or IP literal), why it may not be connected to, or None where it may."""


@dataclass(frozen=True, slots=True)
class FieldFault:
    """One fault of one field; the message is for people and holds no secret."""

    field: str
    message: str


class InvalidBridgeConfig(ConfigError):
    """A configuration was refused; nothing changed.

    Attributes:
        faults: every fault, in the order of the seed's fields, unknown fields last.
    """

    def __init__(self, faults: tuple[FieldFault, ...]) -> None:
        names = ", ".join(dict.fromkeys(fault.field for fault in faults))
        super().__init__(f"Invalid configuration: see {names}", faults[0].field)
        self.faults = faults


@dataclass(frozen=True, slots=True)
class BridgeConfig:
    """The configuration of one account's bridge; docs/ARCHITECTURE.md section 1 says what each field means.

    None is "not set". The values that are or may hold secrets stay out of the repr.
    """

    enabled: bool = False
    sip_server: str | None = None
    sip_user: str | None = None
    sip_pass: str | None = field(default=None, repr=False)
    sip_listen_port: int = DEFAULT_SIP_LISTEN_PORT
    sip_listen_user: str | None = None
    sip_listen_secret: str | None = field(default=None, repr=False)
    sip_extension: str | None = None
    wasm_server_port: int = DEFAULT_WASM_SERVER_PORT
    wasm_server_ip: str | None = None
    chrome_remote_url: str | None = field(default=None, repr=False)  # may hold a token in its userinfo
    node_remote_helper: str | None = field(default=None, repr=False)


API_NAMES: Final[dict[str, str]] = {
    "enabled": "enabled",
    "sipServer": "sip_server",
    "sipUser": "sip_user",
    "sipPass": "sip_pass",
    "sipListenPort": "sip_listen_port",
    "sipListenUser": "sip_listen_user",
    "sipListenSecret": "sip_listen_secret",
    "sipExtension": "sip_extension",
    "wasmServerPort": "wasm_server_port",
    "wasmServerIP": "wasm_server_ip",
    "chromeRemoteURL": "chrome_remote_url",
    "nodeRemoteHelper": "node_remote_helper",
}
"""The seed's name of each field, with the attribute that holds it."""

SECRETS: Final = frozenset({"sipPass", "sipListenSecret"})
URLS: Final[dict[str, tuple[str, ...]]] = {
    "chromeRemoteURL": ("ws", "http", "wss", "https"),
    "nodeRemoteHelper": ("http", "https"),
}
"""Each field that holds a URL, with the schemes it may have."""

_CHROME_PATH: Final = re.compile(r"/?|/devtools/browser/[^/]+|/json(/version)?/?")  # what people copy from Chrome
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")  # what fits into an Authorization header

_DEFAULTS: Final = BridgeConfig()
_PORTS: Final = frozenset({"sipListenPort", "wasmServerPort"})
_MAX_LENGTH: Final = {"chromeRemoteURL": 2048, "nodeRemoteHelper": 2048}
_MAX_LENGTH_OTHER: Final = 255  # more than any PBX takes, and a DNS name is at most 253
_MAX_UNKNOWN: Final = 20  # an answer stays readable however many unknown fields a body of 64 KiB holds
_DIGEST_FORBIDDEN: Final = frozenset('"\\<>:@')  # would need escaping in a SIP URI or a quoted string
_EXTENSION_ALLOWED: Final = frozenset("-_.!~*'()&=+$,/#")  # RFC 3261 section 25.1 "user", less ";" and "?", plus "#"


def allow_every_host(host: str) -> str | None:
    """The host policy that allows all hosts."""
    return None


def merge(
    stored: BridgeConfig, changes: Mapping[str, object], host_policy: HostPolicy = allow_every_host
) -> BridgeConfig:
    """Return *stored* with *changes* applied: a field left out keeps its value, None or ``""`` clears it.

    ``***`` keeps a stored secret, and as userinfo of a URL the stored userinfo, as long as the URL leads to the same
    scheme, host and port.

    Args:
        stored: what is in force now; `BridgeConfig()` where nothing is.
        changes: the decoded JSON object, untrusted, with the seed's names.
        host_policy: asked for each host of a URL field and of wasmServerIP that the request names.

    Raises:
        InvalidBridgeConfig: with every fault.
    """
    faults: list[FieldFault] = []
    values: dict[str, object] = {}
    for name, attribute in API_NAMES.items():
        if name not in changes:
            if name == "enabled":
                faults.append(FieldFault(name, "is required: send true or false"))
            continue
        try:
            values[attribute] = _field_value(name, changes[name], getattr(stored, attribute), host_policy)
        except ValueError as error:
            faults.append(FieldFault(name, str(error)))
    merged = dataclasses.replace(stored, **values)  # type: ignore[arg-type]
    faulty = {fault.field for fault in faults}
    faults += [fault for fault in _across_fields(merged, changes) if fault.field not in faulty]
    faults += _unknown_fields(changes)
    if faults:
        raise InvalidBridgeConfig(tuple(faults))
    return merged


def to_api(config: BridgeConfig) -> dict[str, object]:
    """Return the twelve fields under the seed's names, defaults filled in, secrets masked."""
    answer: dict[str, object] = {}
    for name, attribute in API_NAMES.items():
        value = getattr(config, attribute)
        if name in SECRETS and value is not None:
            value = MASK
        elif name in URLS and value is not None:
            value = mask_url(value)
        answer[name] = value
    return answer


def mask_url(url: str) -> str:
    """Return *url* with its userinfo, which is where tokens stand, replaced by ``***``."""
    scheme, separator, rest = url.partition("://")
    netloc, slash, path = rest.partition("/")
    _, at, address = netloc.rpartition("@")
    return f"{scheme}{separator}{MASK}@{address}{slash}{path}" if at else url


def warnings(config: BridgeConfig) -> tuple[FieldFault, ...]:
    """Return what an enabled configuration leaves switched off, by the field that would switch it on."""
    if not config.enabled or config.sip_server:
        return ()
    found = [FieldFault("sipServer", "is not set: WhatsApp calls ring the phones that registered here, or nobody")]
    if not config.sip_listen_user:
        found.append(
            FieldFault(
                "sipListenUser",
                "is not set, and neither is sipServer: nobody may call, so the SIP listener does not start; "
                "set sipListenUser and sipListenSecret, or sipServer",
            )
        )
    return tuple(found)


def _field_value(name: str, value: object, stored: object, host_policy: HostPolicy) -> object:
    if name == "enabled":
        if not isinstance(value, bool):
            raise ValueError(f"must be true or false, not {_kind(value)}")
        return value
    if value is None or value == "":
        return getattr(_DEFAULTS, API_NAMES[name])
    if name in _PORTS:
        return _port(value)
    if not isinstance(value, str):
        raise ValueError(f"must be a string, not {_kind(value)}")
    _check_text(value, _MAX_LENGTH.get(name, _MAX_LENGTH_OTHER))
    if name in SECRETS:
        if value != MASK:
            return value
        if stored is None:
            raise ValueError(f"is {MASK}, which keeps a stored secret, but none is stored")
        return stored
    if value != value.strip():
        raise ValueError("must not begin or end with a space")
    _TEXT_CHECKS[name](value, host_policy)
    if name in URLS:
        return _with_stored_userinfo(value, stored, URLS[name])
    return value


def _port(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        hint = "; write the number without quotes" if isinstance(value, str) else ""
        raise ValueError(f"must be an integer, not {_kind(value)}{hint}")
    if not 1 <= value <= 65535:
        raise ValueError("must be a port from 1 to 65535")
    return value


def _check_text(value: str, max_length: int) -> None:
    if len(value) > max_length:
        raise ValueError(f"must have at most {max_length} characters")
    # Line breaks would add header lines to a SIP message; a lone surrogate can be neither stored nor sent.
    if any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u2028\u2029" or 0xD800 <= ord(c) < 0xE000 for c in value):
        raise ValueError("must not have control characters, line breaks or broken Unicode")


def _check_sip_server(value: str, host_policy: HostPolicy) -> None:
    parse_sip_server(value)


def _check_user(value: str, host_policy: HostPolicy) -> None:
    if any(c.isspace() or c in _DIGEST_FORBIDDEN for c in value):
        raise ValueError('must be a user name without spaces and without " \\ < > : @')


def _check_extension(value: str, host_policy: HostPolicy) -> None:
    if not all((c.isascii() and c.isalnum()) or c in _EXTENSION_ALLOWED for c in value):
        raise ValueError("must be the user part of a SIP address only: letters, digits and " + "-_.!~*'()&=+$,/#")


def _check_wasm_host(value: str, host_policy: HostPolicy) -> None:
    if "/" in value:
        raise ValueError("must be an IP address or host name alone, without http:// and path")
    inside = value[1:-1] if value.startswith("[") and value.endswith("]") and ":" in value else value
    if inside.count(":") == 1:
        raise ValueError("must be an IP address or host name alone; the port goes into wasmServerPort")
    _ask(host_policy, check_host(inside))


def _check_chrome_url(value: str, host_policy: HostPolicy) -> None:
    parts = parse_url(value, URLS["chromeRemoteURL"])
    if not _CHROME_PATH.fullmatch(parts.path):
        raise ValueError("must be ws://host:port, http://host:port or ws://host:port/devtools/browser/<id>")
    _check_url(parts, host_policy)


def _check_helper_url(value: str, host_policy: HostPolicy) -> None:
    _check_url(parse_url(value, URLS["nodeRemoteHelper"]), host_policy)


def _check_url(parts: UrlParts, host_policy: HostPolicy) -> None:
    if parts.userinfo is not None and not _TOKEN.fullmatch(unquote(parts.userinfo).strip(":")):
        raise ValueError("must have a token of visible ASCII characters before the @")
    _ask(host_policy, parts.host)


def _ask(host_policy: HostPolicy, host: str) -> None:
    refusal = host_policy(host)
    if refusal is not None:
        raise ValueError(refusal)


_TEXT_CHECKS: Final[dict[str, Callable[[str, HostPolicy], None]]] = {
    "sipServer": _check_sip_server,
    "sipUser": _check_user,
    "sipListenUser": _check_user,
    "sipExtension": _check_extension,
    "wasmServerIP": _check_wasm_host,
    "chromeRemoteURL": _check_chrome_url,
    "nodeRemoteHelper": _check_helper_url,
}


def _with_stored_userinfo(value: str, stored: object, schemes: tuple[str, ...]) -> str:
    parts = parse_url(value, schemes)
    if parts.userinfo != MASK:
        return value
    old = parse_url(stored, schemes) if isinstance(stored, str) else None
    if old is None or old.userinfo is None:
        raise ValueError(f"has the token {MASK}, which keeps a stored token, but none is stored")
    if old.origin != parts.origin:
        # Else whoever may change the address, but never saw the token, could have it sent to a host of their own.
        raise ValueError("leads to another host than before: write its token in full")
    return value.replace(f"://{MASK}@", f"://{old.userinfo}@", 1)


def _across_fields(merged: BridgeConfig, changes: Mapping[str, object]) -> list[FieldFault]:
    """Faults between fields. A secret that was stored earlier and lost its user by this change is inert: no fault."""
    faults = []
    if merged.sip_listen_user and not merged.sip_listen_secret:
        faults.append(
            FieldFault("sipListenSecret", "is needed with sipListenUser; set it, or clear sipListenUser as well")
        )
    for secret, attribute, user in (
        ("sipPass", "sip_user", "sipUser"),
        ("sipListenSecret", "sip_listen_user", "sipListenUser"),
    ):
        if changes.get(secret) not in (None, "", MASK) and not getattr(merged, attribute):
            faults.append(FieldFault(user, f"is needed with {secret}"))
    return faults


def _unknown_fields(changes: Mapping[str, object]) -> list[FieldFault]:
    unknown = [name for name in changes if name not in API_NAMES]
    lowered = {name.lower(): name for name in API_NAMES}
    faults = []
    for name in unknown[:_MAX_UNKNOWN]:
        shown = ascii(name[:64])[1:-1]
        near = difflib.get_close_matches(name[:64].lower(), lowered, n=1, cutoff=0.6)
        hint = f"; did you mean {lowered[near[0]]}?" if near else ""
        faults.append(FieldFault(shown, f"is not a field of this request{hint}"))
    if len(unknown) > _MAX_UNKNOWN:
        faults.append(FieldFault("", f"and {len(unknown) - _MAX_UNKNOWN} more unknown fields"))
    return faults


def _kind(value: object) -> str:
    """The JSON name of a value's type, for a sentence."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, float):
        return "a number with a fraction"
    names: dict[type, str] = {int: "a number", str: "a string", list: "a list", dict: "an object", type(None): "null"}
    return names.get(type(value), type(value).__name__)
