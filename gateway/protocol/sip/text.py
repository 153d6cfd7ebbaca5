"""Linear-time readers of the pieces of header values.

sipmessage's own readers are regular expressions that backtrack exponentially on hostile parameters, percent-encode
tokens when written back (which changes a peer's branch or tag), split quoted strings at commas and refuse host names
such as ``pbx1``. What comes from the network is therefore read here, into sipmessage's types where they fit, and what
has to go back to the peer is kept as the text that it sent.
"""

from __future__ import annotations

import functools
import re
import urllib.parse
from dataclasses import dataclass, field
from typing import Final

from sipmessage import URI, Parameters

from gateway.domain.errors import RemoteProtocolError

_TOKEN: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
_HOST: Final = re.compile(r"[A-Za-z0-9._\-]+|\[[0-9A-Fa-f:.]+\]")
_DIGITS: Final = re.compile(r"[0-9]{1,10}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
# a quoted string, what stands in angle brackets (up to the end where they are not closed), or one delimiter
_PIECES: Final = re.compile(r'"(?:[^"\\]|\\.)*"|<[^>]*|[",;]', re.DOTALL)
_NOT_IN_ADDRESS: Final = re.compile(r'[ <>"]')
_NOT_IN_URI: Final = re.compile(r'[\x00-\x20<>"]')


@dataclass(frozen=True)
class WireUri(URI):
    """A URI as a peer wrote it; `str` gives back its very text."""

    raw: str = field(default="", compare=False)

    def __str__(self) -> str:
        return self.raw


def escape_user(user: str) -> str:
    """Return *user* as the user part of a URI: what may not stand there percent-encoded (RFC 3261 section 25.1)."""
    return urllib.parse.quote(clean(user), safe="-_.!~*'()&=+$,")


def sip_uri(user: str, domain: str) -> str:
    """Return ``sip:user@domain``, the user escaped; without a user ``sip:domain``."""
    return f"sip:{escape_user(user)}@{domain}" if user else f"sip:{domain}"


@dataclass(frozen=True, slots=True)
class NameAddr:
    """A value of From, To, Contact, Route, Record-Route or P-Asserted-Identity.

    Attributes:
        uri: the URI's text.
        name: display name, unquoted; may be empty.
        params: header parameters, names in lower case.
        raw: the value's text.
    """

    uri: str
    name: str
    params: dict[str, str | None]
    raw: str

    @property
    def tag(self) -> str:
        """The tag parameter, or an empty string."""
        return self.params.get("tag") or ""


@dataclass(frozen=True, slots=True)
class Via:
    """A Via value (RFC 3261 section 20.42); *raw* is its text."""

    transport: str
    host: str
    port: int | None
    params: dict[str, str | None]
    raw: str

    @property
    def branch(self) -> str:
        """The branch parameter, or an empty string."""
        return self.params.get("branch") or ""


def is_token(text: str) -> bool:
    """Return whether *text* is a token (RFC 3261 section 25.1)."""
    return _TOKEN.fullmatch(text) is not None


def parse_int(text: str, name: str, most: int = 2**32 - 1) -> int:
    """Read a decimal number; `int` alone would take signs, blanks, underscores and non-ASCII digits.

    Raises:
        RemoteProtocolError: *text* is not a number from 0 to *most*.
    """
    text = text.strip()
    if _DIGITS.fullmatch(text) is None or int(text) > most:
        raise RemoteProtocolError(f"{name} is not a number from 0 to {most}")
    return int(text)


def parse_port(text: str) -> int:
    """Read a port number.

    Raises:
        RemoteProtocolError: it is not 1 to 65535; asyncio would close the socket that sends there.
    """
    port = parse_int(text, "port", 65535)
    if port == 0:
        raise RemoteProtocolError("port is 0")
    return port


def split_list(text: str, separator: str) -> list[str]:
    """Split at *separator* outside quoted strings and angle brackets.

    Raises:
        RemoteProtocolError: a quoted string does not end.
    """
    if '"' not in text and "<" not in text:
        return text.split(separator)
    parts: list[str] = []
    start = 0
    for piece in _PIECES.finditer(text):
        found = piece.group()
        if found == separator:
            parts.append(text[start : piece.start()])
            start = piece.end()
        elif found == '"':
            raise RemoteProtocolError("a quoted string does not end")
    parts.append(text[start:])
    return parts


def unquote(text: str) -> str:
    """Return the content of a quoted string, or *text* stripped when it is none."""
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        inner = text[1:-1]
        return re.sub(r"\\(.)", r"\1", inner) if "\\" in inner else inner
    return text


def quote(text: str) -> str:
    """Return *text* as a quoted string, without control characters (they could end the header)."""
    return '"' + clean(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def clean(text: str) -> str:
    """Return *text* as it may stand in a header: no line ends, no other control characters, no lone surrogates."""
    return _CONTROL.sub("", text).encode("utf-8", "ignore").decode("utf-8")


def parse_params(parts: list[str]) -> dict[str, str | None]:
    """Read ``name`` and ``name=value`` pieces; the first of two equal names holds."""
    params: dict[str, str | None] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        name = name.strip().lower()
        if not name:
            raise RemoteProtocolError("a parameter has no name")
        params.setdefault(name, unquote(value) if equals else None)
    return params


def parse_name_addr(text: str) -> NameAddr:
    """Read one name-addr or addr-spec with its parameters.

    Raises:
        RemoteProtocolError: *text* is neither.
    """
    raw = text.strip()
    pieces = split_list(raw, ";")
    head = pieces[0].strip()
    if head.endswith(">"):
        start = head.rfind("<")
        name, uri = head[:start].strip(), head[start + 1 : -1].strip()
        if start < 0:
            raise RemoteProtocolError("an address has no <")
        if name.startswith('"') and (len(name) < 2 or not name.endswith('"')):
            raise RemoteProtocolError("a display name is not quoted to its end")
    else:
        name, uri = "", head
    if not uri or ":" not in uri or _NOT_IN_ADDRESS.search(uri):
        raise RemoteProtocolError("an address holds no URI")
    if uri is head and "?" in uri:
        raise RemoteProtocolError("a URI with headers is not in angle brackets")  # RFC 3261 section 20
    return NameAddr(uri, unquote(name), parse_params(pieces[1:]), raw)


def parse_name_addrs(values: list[str], most: int = 50) -> list[NameAddr]:
    """Read a header that may hold several values per line.

    Raises:
        RemoteProtocolError: one is malformed or there are more than *most*.
    """
    texts = [text for value in values for text in split_list(value, ",")]
    if len(texts) > most:
        raise RemoteProtocolError("too many addresses in a header")
    return [parse_name_addr(text) for text in texts]


def parse_host_port(text: str) -> tuple[str, int | None]:
    """Read ``host``, ``host:port``, ``[v6]`` or ``[v6]:port``; brackets are taken off.

    Raises:
        RemoteProtocolError: it is none of these.
    """
    matched = _HOST.match(text)
    if matched is None:
        raise RemoteProtocolError("a host is malformed")
    host, rest = matched.group().strip("[]"), text[matched.end() :].strip()
    if not rest:
        return host, None
    if not rest.startswith(":"):
        raise RemoteProtocolError("a host is malformed")
    return host, parse_port(rest[1:])


@functools.lru_cache(maxsize=512)
def parse_uri(text: str) -> WireUri:
    """Read a SIP, SIPS or tel URI; peers write the same ones over and over, so what was read lately is remembered.

    Raises:
        RemoteProtocolError: it is malformed (400) or of another scheme (416).
    """
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    if not colon or not rest or not is_token(scheme):
        raise RemoteProtocolError("a URI is malformed")
    if scheme not in {"sip", "sips", "tel"}:
        raise RemoteProtocolError("the URI scheme is not sip, sips or tel", 416)
    if _NOT_IN_URI.search(rest):
        raise RemoteProtocolError("a URI holds blanks or delimiters")
    if scheme == "tel":
        number, *params = rest.split(";")
        if not number:
            raise RemoteProtocolError("a tel URI has no number")
        return WireUri("tel", "", user=number, raw=text, parameters=_uri_parameters(params))
    userinfo, at, rest_of = rest.partition("@")
    if not at:
        userinfo, rest_of = "", rest
    elif not userinfo:
        raise RemoteProtocolError("a URI has an empty user")
    address, *params = rest_of.partition("?")[0].split(";")
    host, port = parse_host_port(address)
    user, colon, password = userinfo.partition(":")
    return WireUri(
        scheme, host, port=port, raw=text, parameters=_uri_parameters(params),
        user=urllib.parse.unquote(user) if at else None,
        password=urllib.parse.unquote(password) if colon else None,
    )  # fmt: skip


def _uri_parameters(parts: list[str]) -> Parameters:
    values = {name: urllib.parse.unquote(value) if value else None for name, value in parse_params(parts).items()}
    values.pop("self", None)  # would collide with the keyword of Parameters.__init__
    return Parameters(**values)


# of any version: a request of another one is answered 505, which has to find its way
_VIA: Final = re.compile(r"SIP ?/ ?[0-9]+\.[0-9]+ ?/ ?([A-Za-z0-9.\-]+) ([^ ]+) ?(: ?[0-9]+)?", re.IGNORECASE)


def parse_broken_via(text: str) -> Via:
    """Read as much of a malformed Via as an answer to its sender needs; its parameters are left out.

    Raises:
        RemoteProtocolError: not even that is there.
    """
    return parse_via(re.split("[;,]", text, maxsplit=1)[0])


def parse_via(text: str) -> Via:
    """Read one Via value.

    Raises:
        RemoteProtocolError: it is malformed.
    """
    raw = text.strip()
    pieces = split_list(raw, ";")
    # blanks are allowed around the slashes and the colon (RFC 4475 section 3.1.1.1)
    matched = _VIA.fullmatch(" ".join(pieces[0].split()))
    if matched is None:
        raise RemoteProtocolError("Via is malformed")
    host, port = parse_host_port(matched[2] + (matched[3] or "").replace(" ", ""))
    return Via(matched[1].upper(), host, port, parse_params(pieces[1:]), raw)
