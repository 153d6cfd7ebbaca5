"""Bencode, the encoding of rtpengine's ng protocol: integers, strings of bytes, lists and dictionaries.

Strings that are UTF-8 are read as text, since all of ng is text; others as bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from gateway.domain.errors import RemoteProtocolError

Value: TypeAlias = "int | str | bytes | Sequence[Value] | Mapping[str, Value]"

MAX_DEPTH: Final = 24  # rtpengine's deepest answer (query) has 9
_MAX_DIGITS: Final = 20  # of 64 bits, with a sign


def encode(value: Value) -> bytes:
    """Return *value* as bencode. The keys of a dictionary are sorted, as the format wants it."""
    out: list[bytes] = []
    _write(value, out)
    return b"".join(out)


def _write(value: Value, out: list[bytes]) -> None:
    match value:
        case int():  # bool as well
            out.append(b"i%de" % value)
        case bytes():
            out.append(b"%d:%b" % (len(value), value))
        case str():
            data = value.encode()
            out.append(b"%d:%b" % (len(data), data))
        case Mapping():
            out.append(b"d")
            for key, one in sorted((key.encode(), one) for key, one in value.items()):
                out.append(b"%d:%b" % (len(key), key))
                _write(one, out)
            out.append(b"e")
        case _:
            out.append(b"l")
            for one in value:
                _write(one, out)
            out.append(b"e")


def decode(data: bytes) -> Value:
    """Return the one value that *data* is.

    Raises:
        RemoteProtocolError: it is no bencode, is nested too deep, or more follows it.
    """
    reader = _Reader(data)
    value = reader.value(0)
    if reader.at != len(data):
        raise RemoteProtocolError("Something follows the bencode value")
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def value(self, depth: int) -> Value:
        if depth > MAX_DEPTH:
            raise RemoteProtocolError("Bencode is nested too deep")
        kind = self._data[self.at : self.at + 1]
        if kind == b"i":
            self.at += 1
            return self._integer(b"e")
        if kind == b"l":
            self.at += 1
            items: list[Value] = []
            while not self._end():
                items.append(self.value(depth + 1))
            return items
        if kind == b"d":
            self.at += 1
            entries: dict[str, Value] = {}
            while not self._end():
                key = self._string()
                entries[key if isinstance(key, str) else key.decode("latin-1")] = self.value(depth + 1)
            return entries
        return self._string()

    def _end(self) -> bool:
        if self._data[self.at : self.at + 1] != b"e":
            return False
        self.at += 1
        return True

    def _integer(self, end: bytes) -> int:
        stop = self._data.find(end, self.at, self.at + _MAX_DIGITS + 1)
        digits = self._data[self.at : stop] if stop >= 0 else b""
        if not digits.removeprefix(b"-").isdigit():
            raise RemoteProtocolError("Bencode has a malformed number")
        self.at = stop + 1
        return int(digits)

    def _string(self) -> str | bytes:
        length = self._integer(b":")
        if not 0 <= length <= len(self._data) - self.at:
            raise RemoteProtocolError("Bencode has a string that is longer than the message")
        data = self._data[self.at : self.at + length]
        self.at += length
        try:
            return data.decode()
        except UnicodeDecodeError:
            return data
