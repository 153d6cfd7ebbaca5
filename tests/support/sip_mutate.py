"""Breaks SIP messages in the ways that break parsers."""

from __future__ import annotations

import random

_SPLICES = [
    b"99999", b"0", b"-1", b"4294967296", b"\x00", b"\xff\xfe", b"\r\n", b"\n", b"\r\n\r\n", b'"', b"<", b">", b";",
    b",", b"=", b":", b"@", b"%", b"[::1]", b"[", b"SIP/2.0", b" " * 40, b";" * 60, b"a" * 3000, b";a=b" * 300, b"\\",
    b"sip:", b"tel:", b"Via: SIP/2.0/UDP 127.0.0.1:99999;branch=z9hG4bKx\r\n", b"Content-Length: 99999999\r\n",
    b"rport", b"rport=99999", b"maddr=127.0.0.1", b"transport=tcp", b"*", b"self=1", b"\xd9\xa1", b"1_0", b"+1",
]  # fmt: skip


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return *data* with one to four faults."""
    broken = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(broken) + 1)
        kind = rng.randrange(6)
        if kind == 0:
            broken[at:at] = rng.choice(_SPLICES)
        elif kind == 1:
            broken[at : at + rng.randint(1, 30)] = rng.choice(_SPLICES)
        elif kind == 2:
            del broken[at : at + rng.randint(1, 60)]
        elif kind == 3 and at < len(broken):
            broken[at] = rng.randrange(256)
        elif kind == 4:
            del broken[at:]
        else:
            lines = bytes(broken).split(b"\r\n")
            lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
            broken = bytearray(b"\r\n".join(lines))
    return bytes(broken)
