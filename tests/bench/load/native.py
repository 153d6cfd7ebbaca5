"""The packet loop in C (load.c), built when it is first needed, as Python calls it."""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pylibsrtp
from pylibsrtp._binding import ffi, lib

from gateway.codecs.g711 import encode_ulaw

_SOURCE: Final = Path(__file__).with_name("load.c")
_BUILD: Final = Path(__file__).resolve().parents[3] / "build" / "bench"
_CLOCK_HZ: Final = 8000
_FRAMES: Final = 64  # different ones of what is said in a call
_OTHER: Final = ctypes.CFUNCTYPE(
    None, ctypes.c_int, ctypes.POINTER(ctypes.c_uint8), ctypes.c_int, ctypes.c_uint32, ctypes.c_int
)

Other = Callable[[int, bytes, tuple[str, int]], None]
"""Takes what is no RTP: the index of the stream whose socket it came to, the datagram, and its sender."""


class _Stream(ctypes.Structure):
    _fields_ = (
        ("fd", ctypes.c_int), ("host", ctypes.c_uint32), ("port", ctypes.c_uint16), ("sequence", ctypes.c_uint16),
        ("timestamp", ctypes.c_uint32), ("ssrc", ctypes.c_uint32), ("hears", ctypes.c_int32),
        ("protect_context", ctypes.c_void_p), ("unprotect_context", ctypes.c_void_p), ("unsent", ctypes.c_int64),
        ("undecryptable", ctypes.c_int64), ("foreign", ctypes.c_int64), ("again", ctypes.c_int64),
        ("disordered", ctypes.c_int64), ("latest", ctypes.c_int32),
    )  # fmt: skip


class _Load(ctypes.Structure):
    _fields_ = (
        ("streams", ctypes.POINTER(_Stream)), ("count", ctypes.c_int32), ("run", ctypes.c_uint32),
        ("delay_ms", ctypes.c_void_p), ("rounds", ctypes.c_int32), ("linger_ns", ctypes.c_int64),
        ("protect", ctypes.c_void_p), ("unprotect", ctypes.c_void_p), ("other", _OTHER), ("audio", ctypes.c_char_p),
        ("frames", ctypes.c_int32), ("stop", ctypes.c_int32), ("latest_send_ns", ctypes.c_int64),
    )  # fmt: skip


@dataclass(slots=True)
class End:
    """One end of a call.

    Attributes:
        fd: its UDP socket.
        to: where it sends to.
        ssrc: what it sends as.
        hears: index of the end whose packets come here.
        protect: libsrtp's session for what it sends; None: plain RTP.
        unprotect: for what it receives.
        sequence: of its next packet.
        timestamp: of its next packet.
    """

    fd: int
    to: tuple[str, int]
    ssrc: int
    hears: int
    protect: pylibsrtp.Session | None = None
    unprotect: pylibsrtp.Session | None = None
    sequence: int = 0
    timestamp: int = 0


@dataclass(frozen=True, slots=True)
class Carried:
    """What came of what was sent.

    Attributes:
        delay_ms: by sending end and packet; NaN: it never came.
        unsent: packets that our own socket did not take, or SRTP did not protect.
        undecryptable: that failed SRTP's check.
        foreign: RTP that nobody sent.
        again: that came twice.
        disordered: that came after a later one.
        latest_send_ms: by how much a packet was sent too late at worst.
    """

    delay_ms: np.ndarray[Any, np.dtype[np.float32]]
    unsent: int
    undecryptable: int
    foreign: int
    again: int
    disordered: int
    latest_send_ms: float


def built() -> Path:
    """Return the library, built from the source as it is now."""
    mark = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:16]
    path = _BUILD / f"load-{mark}.so"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        command = ["clang", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(fresh), str(_SOURCE)]
        subprocess.run(command, check=True, timeout=60)
        fresh.replace(path)
    return path


def speech_like() -> bytes:
    """Return frames of PCMU that go up and down like a voice: three tones of a vowel, with noise."""
    at = np.arange(_FRAMES * 160) / 8000
    vowel = sum(level * np.sin(2 * np.pi * hz * at) for hz, level in ((140.0, 0.5), (710.0, 0.3), (1180.0, 0.2)))
    noise = np.random.default_rng(1).normal(0, 0.02, len(at))
    wave = (vowel * (0.55 + 0.45 * np.sin(2 * np.pi * 4 * at)) + noise) * 6000
    return encode_ulaw(array("h", wave.astype(np.int16).tobytes()))


class Native:
    """The loop.

    Args:
        other: takes STUN and DTLS, in the thread that runs the loop.
    """

    def __init__(self, other: Other) -> None:
        self._library = ctypes.CDLL(str(built()))
        self._library.run.argtypes = (ctypes.POINTER(_Load),)
        self._audio = speech_like()
        self._runs = 0
        self._ended_s: float | None = None

        def told(stream: int, packet: Any, length: int, host: int, port: int) -> None:
            address = ".".join(str(part) for part in host.to_bytes(4, "little"))
            other(stream, ctypes.string_at(packet, length), (address, port))

        self._other = _OTHER(told)

    def run(self, ends: Sequence[End], rounds: int, *, linger_s: float = 0.3) -> Carried:
        """Send *rounds* packets from every end, 20 ms apart, and return when what came of them has come.

        Blocks, without the interpreter's lock.
        """
        self._runs += 1
        # A sender's clock goes on while it is silent: else this would look like a network that held its packets back.
        passed = 0 if self._ended_s is None else round((time.monotonic() - self._ended_s) * _CLOCK_HZ)
        streams = (_Stream * len(ends))()
        for stream, end in zip(streams, ends, strict=True):
            stream.fd, stream.hears, stream.ssrc = end.fd, end.hears, end.ssrc
            stream.sequence, stream.timestamp = end.sequence & 0xFFFF, (end.timestamp + passed) & 0xFFFFFFFF
            stream.host = int.from_bytes(bytes(int(part) for part in end.to[0].split(".")), "little")
            stream.port = int.from_bytes(end.to[1].to_bytes(2, "big"), "little")
            stream.protect_context = _context(end.protect)
            stream.unprotect_context = _context(end.unprotect)
        delay_ms = np.full((len(ends), rounds), np.nan, dtype=np.float32)
        load = _Load(
            streams, len(ends), self._runs & 0xFFFF, delay_ms.ctypes.data, rounds, int(linger_s * 1e9),
            _function("srtp_protect"), _function("srtp_unprotect"), self._other, self._audio, _FRAMES, 0, 0,
        )  # fmt: skip
        if error := self._library.run(ctypes.byref(load)):
            raise OSError(error, os.strerror(error))
        self._ended_s = time.monotonic() - linger_s
        for stream, end in zip(streams, ends, strict=True):
            end.sequence, end.timestamp = stream.sequence, stream.timestamp
        return Carried(
            delay_ms,
            unsent=sum(stream.unsent for stream in streams),
            undecryptable=sum(stream.undecryptable for stream in streams),
            foreign=sum(stream.foreign for stream in streams),
            again=sum(stream.again for stream in streams),
            disordered=sum(stream.disordered for stream in streams),
            latest_send_ms=load.latest_send_ns / 1e6,
        )


def _context(session: pylibsrtp.Session | None) -> int | None:
    return None if session is None else int(ffi.cast("uintptr_t", session._srtp[0]))


def _function(name: str) -> int:
    return int(ffi.cast("uintptr_t", ffi.addressof(lib, name)))
