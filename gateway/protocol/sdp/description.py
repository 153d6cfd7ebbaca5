"""Session descriptions as data: parsed and written (RFC 8866). What they mean is told elsewhere."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Final

from gateway.domain.errors import RemoteProtocolError

MAX_SDP_CHARS: Final = 65_536  # as much as one SIP message over UDP can hold
MAX_MEDIA: Final = 32  # a browser's offer with video, data and simulcast has a dozen

Attribute = tuple[str, str | None]
"""``a=name:value``, or ``a=name`` with None."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The o= line: who made the session, and which version of it this is."""

    username: str
    session_id: str
    version: int
    address: str

    def __str__(self) -> str:
        return f"{self.username} {self.session_id} {self.version} {connection_value(self.address)}"


@dataclass(frozen=True, slots=True)
class MediaDescription:
    """One m= section.

    Attributes:
        media: ``audio``, ``video``, …
        port: 0 where the stream is refused.
        profile: transport, for example ``RTP/AVP``.
        formats: payload types, or whatever the profile calls formats.
        address: of its own c= line, None where the session's holds.
        attributes: in order.
    """

    media: str
    port: int
    profile: str
    formats: tuple[str, ...]
    address: str | None = None
    attributes: tuple[Attribute, ...] = ()

    def value(self, name: str) -> str | None:
        """Return the value of the first attribute *name*, None where there is none."""
        return next((value for key, value in self.attributes if key == name and value is not None), None)

    def values(self, name: str) -> list[str]:
        """Return the values of all attributes *name*."""
        return [value for key, value in self.attributes if key == name and value is not None]

    def has(self, name: str) -> bool:
        """Whether there is an attribute *name*."""
        return any(key == name for key, _ in self.attributes)

    def lines(self) -> list[str]:
        """Return the lines of this section."""
        lines = [f"m={self.media} {self.port} {self.profile} {' '.join(self.formats)}"]
        if self.address is not None:
            lines.append(f"c={connection_value(self.address)}")
        lines += [_attribute_line(attribute) for attribute in self.attributes]
        return lines


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """A whole description."""

    origin: Origin
    media: tuple[MediaDescription, ...]
    address: str | None = None
    attributes: tuple[Attribute, ...] = ()
    name: str = "-"
    bandwidth: tuple[str, ...] = field(default=())

    def value(self, name: str) -> str | None:
        """Return the value of the first session attribute *name*, None where there is none."""
        return next((value for key, value in self.attributes if key == name and value is not None), None)

    def has(self, name: str) -> bool:
        """Whether there is a session attribute *name*."""
        return any(key == name for key, _ in self.attributes)

    def __str__(self) -> str:
        lines = ["v=0", f"o={self.origin}", f"s={self.name}"]
        if self.address is not None:
            lines.append(f"c={connection_value(self.address)}")
        lines += [f"b={value}" for value in self.bandwidth]
        lines.append("t=0 0")
        lines += [_attribute_line(attribute) for attribute in self.attributes]
        for media in self.media:
            lines += media.lines()
        return "\r\n".join(lines) + "\r\n"


def connection_value(address: str) -> str:
    """Return ``IN IP4 …`` or ``IN IP6 …`` for *address*."""
    return f"IN IP{6 if ':' in address else 4} {address}"


def ip_or_none(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return *host* as an IP address, None where it is a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _attribute_line(attribute: Attribute) -> str:
    name, value = attribute
    return f"a={name}" if value is None else f"a={name}:{value}"


def number(text: str, low: int, high: int) -> int | None:
    """Return the decimal *text* as a number, None where it is none or not from *low* to *high*."""
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        return None
    value = int(text)
    return value if low <= value <= high else None


def parse_connection(value: str) -> str:
    """Return the address of a c= value.

    Raises:
        RemoteProtocolError: it is no connection value.
    """
    parts = value.split()
    if len(parts) != 3 or parts[0] != "IN" or parts[1] not in {"IP4", "IP6"}:
        raise RemoteProtocolError("SDP c= line is malformed")
    address = parts[2].partition("/")[0]  # multicast TTL and count are of no use here
    found = ip_or_none(address)
    if found is not None and found.version != int(parts[1][2]):
        raise RemoteProtocolError("SDP c= line has an address of the other family")
    return address


def parse_sdp(text: str) -> SessionDescription:
    """Parse a session description. Lines may end with LF alone; line types that are not used are skipped.

    Raises:
        RemoteProtocolError: *text* is no session description.
    """
    if len(text) > MAX_SDP_CHARS:
        raise RemoteProtocolError("SDP is too long")
    lines = text.replace("\r\n", "\n").rstrip("\n \t\r").split("\n")
    if lines[0].rstrip() != "v=0":
        raise RemoteProtocolError("SDP does not begin with v=0")
    origin: Origin | None = None
    name = "-"
    session_address: str | None = None
    session_attributes: list[Attribute] = []
    media: list[MediaDescription] = []
    head: tuple[str, int, str, tuple[str, ...]] | None = None
    address: str | None = None
    attributes: list[Attribute] = []

    def finish() -> None:
        if head is not None:
            media.append(MediaDescription(*head, address, tuple(attributes)))

    for line in lines[1:]:
        if len(line) < 2 or line[1] != "=" or not line[0].isascii() or not line[0].islower():
            raise RemoteProtocolError("SDP line is not of the form x=value")
        kind, value = line[0], line[2:].strip()
        if kind == "m":
            finish()
            head, address, attributes = _parse_media(value), None, []
            if len(media) >= MAX_MEDIA:
                raise RemoteProtocolError("SDP has too many m= lines")
        elif kind == "a":
            key, colon, rest = value.partition(":")
            (session_attributes if head is None else attributes).append((key.strip(), rest if colon else None))
        elif kind == "c":
            if head is None:
                session_address = parse_connection(value)
            else:
                address = parse_connection(value) if address is None else address
        elif kind == "o" and head is None:
            origin = _parse_origin(value)
        elif kind == "s" and head is None:
            name = value or "-"
    finish()
    if origin is None:
        raise RemoteProtocolError("SDP has no o= line")
    return SessionDescription(origin, tuple(media), session_address, tuple(session_attributes), name)


def _parse_origin(value: str) -> Origin:
    parts = value.split()
    version = number(parts[2], 0, 10**20) if len(parts) == 6 else None
    if version is None or parts[3] != "IN" or parts[4] not in {"IP4", "IP6"}:
        raise RemoteProtocolError("SDP o= line is malformed")
    return Origin(parts[0], parts[1], version, parts[5])


def _parse_media(value: str) -> tuple[str, int, str, tuple[str, ...]]:
    parts = value.split()
    port = number(parts[1].partition("/")[0], 0, 65535) if len(parts) >= 4 else None
    if port is None:
        raise RemoteProtocolError("SDP m= line is malformed")
    return parts[0], port, parts[2], tuple(parts[3:])
