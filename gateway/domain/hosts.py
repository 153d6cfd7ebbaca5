"""Host names, ports, SIP server addresses and URLs: syntax only, nothing is resolved or connected to.

Every function raises `ValueError` whose text is the end of a sentence about the field ("must …").
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final, NoReturn
from urllib.parse import urlsplit

_LABEL: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")  # "_": names of compose services
_NUMERIC_LABEL: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")

SIP_TRANSPORTS: Final = ("udp", "tcp", "tls", "ws", "wss")
DEFAULT_PORTS: Final = {"http": 80, "ws": 80, "https": 443, "wss": 443}


@dataclass(frozen=True, slots=True)
class SipServerAddress:
    """A parsed ``sipServer``.

    Attributes:
        host: name or IP literal, IPv6 without brackets.
        port: None asks for SRV (RFC 3263), then the transport's default.
        transport: one of `SIP_TRANSPORTS`; None where the address does not say.
    """

    host: str
    port: int | None = None
    transport: str | None = None


@dataclass(frozen=True, slots=True)
class UrlParts:
    """A parsed URL.

    Attributes:
        scheme: lower case.
        userinfo: what stands before the ``@``, None where there is none. A secret: never logged.
        host: name or IP literal, IPv6 without brackets.
        port: the scheme's default where the URL has none.
        path: empty or beginning with a slash.
    """

    scheme: str
    userinfo: str | None
    host: str
    port: int
    path: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: who receives the userinfo."""
        return self.scheme, self.host.lower(), self.port


def check_host(text: str) -> str:
    """Return *text* as a host: an IPv4 address, an IPv6 address without brackets, or a DNS name in ASCII.

    A last label that is a number makes it an IPv4 address, so that forms like ``127.1`` or ``0x7f000001``, which
    resolvers accept, are not taken for names.

    Raises:
        ValueError: it is none of these.
    """
    if ":" in text:
        try:
            if "%" in text:
                _fail("must not have an IPv6 zone")
            return str(ipaddress.IPv6Address(text))
        except ipaddress.AddressValueError:
            _fail("must hold a valid IPv6 address")
    labels = text.removesuffix(".").split(".")
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        try:
            return str(ipaddress.IPv4Address(text))
        except ipaddress.AddressValueError:
            _fail("must hold a valid IPv4 address of four numbers from 0 to 255")
    if not text.isascii():
        _fail("must hold a host name in ASCII (an international name in its xn-- form)")
    if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        _fail("must hold a valid host name or IP address")
    return text


def check_port(text: str) -> int:
    """Return the port written as *text*, 1 to 65535.

    Raises:
        ValueError: it is not one.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535):
        _fail("must have a port from 1 to 65535")
    return int(text)


def split_host_port(text: str) -> tuple[str, int | None]:
    """Split ``host[:port]``, IPv6 in brackets.

    Raises:
        ValueError: host or port is not valid.
    """
    if text.startswith("["):
        inside, bracket, rest = text[1:].partition("]")
        if not bracket or ":" not in inside or (rest and not rest.startswith(":")):
            _fail("must write IPv6 as [address] or [address]:port")
        return check_host(inside), check_port(rest[1:]) if rest else None
    if text.count(":") > 1:
        _fail("must write an IPv6 address in brackets, for example [2001:db8::1]:5060")
    host, colon, port = text.partition(":")
    return check_host(host), check_port(port) if colon else None


def parse_sip_server(text: str) -> SipServerAddress:
    """Parse ``host[:port][;transport=udp|tcp|tls|ws|wss]``.

    Raises:
        ValueError: it has another form.
    """
    address, *parameters = text.split(";")
    if address.lower().startswith(("sip:", "sips:")) or "@" in address or "/" in address:
        _fail("must be host, host:port or IP:port, without sip:, user or path")
    host, port = split_host_port(address.rstrip(" ") if parameters else address)
    if _is_many_hosts(host):
        _fail("must be the address of one host")
    transport: str | None = None
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() != "transport":
            _fail(f"must not have the parameter {name.strip()[:32]!r}; only ;transport= may follow the address")
        if transport is not None:
            _fail("must name one transport only")
        transport = value.strip().lower()
        if transport not in SIP_TRANSPORTS:
            _fail("must have one of these transports: " + ", ".join(SIP_TRANSPORTS))
    return SipServerAddress(host, port, transport)


def _is_many_hosts(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_unspecified or address.is_multicast


def parse_url(text: str, schemes: tuple[str, ...]) -> UrlParts:
    """Parse an absolute URL with one of *schemes*, without query and fragment.

    Raises:
        ValueError: it has another form.
    """
    if any(character.isspace() for character in text) or "\\" in text:
        _fail("must be a URL without spaces and backslashes")
    try:
        parts = urlsplit(text)
    except ValueError:
        _fail("must be a valid URL")
    if parts.scheme.lower() not in schemes or not text[len(parts.scheme) :].startswith("://"):
        _fail("must begin with " + " or ".join(f"{scheme}://" for scheme in schemes))
    if parts.query or parts.fragment or "?" in text or "#" in text:
        _fail("must not have a query or fragment; write a token as http://token@host")
    userinfo, at, address = parts.netloc.rpartition("@")
    host, port = split_host_port(address)
    return UrlParts(parts.scheme.lower(), userinfo if at else None, host, port or DEFAULT_PORTS[parts.scheme.lower()],
                    parts.path)  # fmt: skip


def _fail(message: str) -> NoReturn:
    raise ValueError(message)
