"""Where Chrome, the node helper and the wasm server are: URLs of the API, taken apart once.

All forms of docs/ARCHITECTURE.md section 1: ``ws://host:port``, ``http://…``, ``ws://…/devtools/browser/<id>``,
``wss`` and ``https``, with a token as userinfo.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import unquote, urlsplit

from gateway.browser.allow import AllowList, check_address, literal
from gateway.domain.errors import ConfigError

_SECURE: Final = {"ws": False, "http": False, "wss": True, "https": True}
# The id is of no use: it belongs to one Chrome process, and /json/version tells the one of today.
_CHROME_PATH: Final = re.compile(r"/?(devtools/browser(/[^/]*)?|json(/version)?)?/?")


@dataclass(frozen=True, slots=True)
class HttpEndpoint:
    """A server that a URL of the API names.

    Attributes:
        host: name or address literal, without brackets.
        port: TCP port.
        secure: whether it speaks TLS.
        path: path prefix without a slash at its end; empty for Chrome.
        token: bearer token of the URL's userinfo or the settings; never shown.
        setting: the field of the API that it came from, for errors.
    """

    host: str
    port: int
    secure: bool = False
    path: str = ""
    token: str | None = field(default=None, repr=False)
    setting: str = "chromeRemoteURL"

    @property
    def netloc(self) -> str:
        """``host:port`` with brackets around an IPv6 address; no token."""
        return join_host_port(self.host, self.port)

    @property
    def is_name(self) -> bool:
        """Whether the host has to be resolved."""
        return literal(self.host) is None

    def __str__(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.netloc}{self.path}"

    def with_default_token(self, token: str | None) -> HttpEndpoint:
        """Return the endpoint with *token* where the URL itself had none."""
        return self if self.token or not token else replace(self, token=token)


BrowserEndpoint = HttpEndpoint
"""Chrome's debugging port, or the relay in front of it."""


def join_host_port(host: str, port: int) -> str:
    """Return ``host:port``, IPv6 in brackets (RFC 3986 section 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _parse(url: str, field_name: str, schemes: tuple[str, ...], what: str) -> tuple[HttpEndpoint, str]:
    if not isinstance(url, str) or not url.strip():
        raise ConfigError(f"{field_name} is empty; give {what}", field_name)
    text = url.strip()
    if any(ord(character) <= 0x20 or ord(character) == 0x7F for character in text):
        raise ConfigError(f"{field_name} holds a space or a control character; remove it", field_name)
    try:
        parts = urlsplit(text)
        port = parts.port
        host = parts.hostname
    except ValueError:
        raise ConfigError(
            f"{field_name} is not a URL: its host or port is malformed; give {what}", field_name
        ) from None
    if parts.scheme not in schemes or "//" not in text:
        names = ", ".join(f"{scheme}://" for scheme in schemes)
        raise ConfigError(f"{field_name} must start with one of {names}; give {what}", field_name)
    if not host:
        raise ConfigError(f"{field_name} names no host; give {what}", field_name)
    if "%" in host:
        raise ConfigError(
            f"{field_name} has a zone in its address, and link-local addresses are not allowed", field_name
        )
    if ":" not in host and not re.fullmatch(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?\.?", host):
        raise ConfigError(f"{field_name} has a host that is neither a name nor an address", field_name)
    if port == 0:
        raise ConfigError(f"{field_name} has port 0; give one of 1 to 65535", field_name)
    if parts.query or parts.fragment:
        raise ConfigError(
            f"{field_name} must not have a query or fragment; give a token as ws://:TOKEN@host", field_name
        )
    secure = _SECURE[parts.scheme]
    token = unquote(parts.password or parts.username or "") or None
    if token and not re.fullmatch(r"[\x21-\x7e]+", token):
        raise ConfigError(f"{field_name} has a token with characters that HTTP cannot carry", field_name)
    return HttpEndpoint(host, port or (443 if secure else 80), secure, "", token, field_name), parts.path


def parse_browser_url(url: str, *, field_name: str = "chromeRemoteURL") -> BrowserEndpoint:
    """Return the endpoint of a `chromeRemoteURL`.

    Args:
        url: any form of docs/ARCHITECTURE.md section 1.
        field_name: the field to blame.

    Raises:
        ConfigError: it is not such a URL; the text says what is wrong.
    """
    what = "for example ws://10.1.0.7:9223"
    endpoint, path = _parse(url, field_name, ("ws", "wss", "http", "https"), what)
    if path.startswith("/devtools/page/"):
        raise ConfigError(f"{field_name} names one page; leave the path out, {what}", field_name)
    if not _CHROME_PATH.fullmatch(path):
        raise ConfigError(f"{field_name} has a path that Chrome does not have; leave it out, {what}", field_name)
    return endpoint


def parse_http_url(url: str, *, field_name: str = "nodeRemoteHelper") -> HttpEndpoint:
    """Return the endpoint of a `nodeRemoteHelper` or wasm server URL; a path becomes a prefix.

    Raises:
        ConfigError: it is not such a URL; the text says what is wrong.
    """
    endpoint, path = _parse(url, field_name, ("http", "https"), "for example http://10.1.0.7:3000")
    return replace(endpoint, path=path.rstrip("/"))


def check_literal(endpoint: HttpEndpoint, allow: AllowList) -> None:
    """Check the address of an endpoint that needs no resolution; a name is checked when it is resolved.

    Raises:
        AddressNotAllowed: the gateway may not connect to it.
    """
    address = literal(endpoint.host)
    if address is not None:
        check_address(address, allow, field=endpoint.setting)
