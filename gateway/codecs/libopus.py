"""libopus by ctypes: an encoder and a decoder that tell lost packets, and at the rate that the other side needs.

The library is the one that PyAV's wheels carry (PyAV is here for aiortc in any case), else the system's. PyAV itself
cannot be asked for this: FFmpeg's decoder neither conceals a packet nor reads the copy of it in the next one.
Calls keep the interpreter's lock (`ctypes.PyDLL`): they last 0.03 to 0.2 ms, and getting it back from another thread
takes up to 5.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, files
from typing import Final

from gateway.domain.errors import Unavailable

RATES_HZ: Final = (8000, 12000, 16000, 24000, 48000)
MAX_PACKET_BYTES: Final = 1275  # RFC 6716 section 3.2.1: one frame, and we never make more at once
MAX_PACKET_S: Final = 0.12
_VOIP: Final = 2048  # OPUS_APPLICATION_VOIP
_SET_BITRATE, _SET_COMPLEXITY, _SET_FEC, _SET_LOSS, _SET_DTX = 4002, 4010, 4012, 4014, 4016
_SET_SIGNAL, _SIGNAL_VOICE = 4024, 3001

_PREFIXES: Final = ("libopus-", "libopus.")  # names in wheels of Linux carry a hash


class OpusLibrary:
    """The functions of a libopus.

    Args:
        path: of the shared library; by default the first that is found.

    Raises:
        Unavailable: there is none.
    """

    __slots__ = (
        "_library", "decode", "decoder_init", "decoder_size", "encode", "encoder_ctl", "encoder_init", "encoder_size",
        "version",
    )  # fmt: skip

    def __init__(self, path: str | None = None) -> None:
        library = _load(path)
        pointer, number = ctypes.c_void_p, ctypes.c_int
        self._library = library
        self.encoder_size = library.opus_encoder_get_size
        self.decoder_size = library.opus_decoder_get_size
        self.encoder_init = library.opus_encoder_init
        self.encoder_init.argtypes = [pointer, ctypes.c_int32, number, number]
        self.decoder_init = library.opus_decoder_init
        self.decoder_init.argtypes = [pointer, ctypes.c_int32, number]
        self.encoder_ctl = library.opus_encoder_ctl  # variadic: no argument types, each is given as what it is
        self.encode = library.opus_encode
        self.encode.argtypes = [pointer, ctypes.c_char_p, number, pointer, ctypes.c_int32]
        self.encode.restype = ctypes.c_int32
        self.decode = library.opus_decode
        self.decode.argtypes = [pointer, ctypes.c_char_p, ctypes.c_int32, pointer, number, number]
        library.opus_get_version_string.restype = ctypes.c_char_p
        self.version = str(library.opus_get_version_string().decode())


def _load(path: str | None) -> ctypes.PyDLL:
    for candidate in [path] if path is not None else _candidates():
        try:
            return ctypes.PyDLL(candidate)
        except OSError:
            continue
    raise Unavailable("libopus was not found: neither in the package av (PyAV) nor on the system (Debian: libopus0)")


def _candidates() -> Iterator[str]:
    try:
        carried = files("av") or []
    except PackageNotFoundError:
        carried = []
    for file in carried:
        if file.name.startswith(_PREFIXES):
            yield str(file.locate())
    found = ctypes.util.find_library("opus")
    if found is not None:
        yield found


class OpusEncoder:
    """One mono stream of speech, to be coded.

    Args:
        library: libopus.
        rate_hz: of the samples.
        bitrate_bps: at most so many bits a second, on the average.
        complexity: 0 to 10: more costs more CPU.
        dtx: leave packets out while nobody speaks (RFC 7587 section 3.1.3).
    """

    __slots__ = ("_encode", "_encoder_ctl", "_packet", "_packet_at", "_state", "_state_at")

    def __init__(
        self, library: OpusLibrary, rate_hz: int, *, bitrate_bps: int, complexity: int, dtx: bool = False
    ) -> None:
        self._encode = library.encode
        self._encoder_ctl = library.encoder_ctl
        self._state = ctypes.create_string_buffer(library.encoder_size(1))
        self._state_at = ctypes.addressof(self._state)
        self._packet = ctypes.create_string_buffer(MAX_PACKET_BYTES)
        self._packet_at = ctypes.addressof(self._packet)
        _check(library.encoder_init(self._state_at, rate_hz, 1, _VOIP))
        self._set(_SET_BITRATE, bitrate_bps)
        self._set(_SET_COMPLEXITY, complexity)
        self._set(_SET_SIGNAL, _SIGNAL_VOICE)
        self._set(_SET_FEC, 1)
        self._set(_SET_DTX, int(dtx))

    def _set(self, request: int, value: int) -> None:
        _check(self._encoder_ctl(ctypes.c_void_p(self._state_at), request, ctypes.c_int32(value)))

    def expect_loss(self, percent: int) -> None:
        """Give more bits to copies of earlier packets (FEC), by how many of 100 get lost; 0: no copies."""
        self._set(_SET_LOSS, percent)

    def encode(self, samples: bytes) -> bytes:
        """Return the packet of *samples*, 16-bit, which last 2.5, 5, 10, 20, 40 or 60 ms."""
        size = _check(self._encode(self._state_at, samples, len(samples) >> 1, self._packet_at, MAX_PACKET_BYTES))
        return ctypes.string_at(self._packet_at, size)


class OpusDecoder:
    """One stream, decoded to mono at *rate_hz*, whatever it was coded from.

    Args:
        library: libopus.
        rate_hz: of the samples.
    """

    __slots__ = ("_capacity", "_decode", "_sound", "_sound_at", "_state", "_state_at")

    def __init__(self, library: OpusLibrary, rate_hz: int) -> None:
        self._decode = library.decode
        self._state = ctypes.create_string_buffer(library.decoder_size(1))
        self._state_at = ctypes.addressof(self._state)
        self._capacity = round(MAX_PACKET_S * rate_hz)
        self._sound = ctypes.create_string_buffer(2 * self._capacity)
        self._sound_at = ctypes.addressof(self._sound)
        _check(library.decoder_init(self._state_at, rate_hz, 1))

    def decode(self, packet: bytes) -> bytes | None:
        """Return the 16-bit samples of *packet*, None where it is malformed."""
        if not packet:  # libopus takes it for a lost one
            return None
        count = self._decode(self._state_at, packet, len(packet), self._sound_at, self._capacity, 0)
        return ctypes.string_at(self._sound_at, 2 * count) if count >= 0 else None

    def recover(self, following: bytes, samples: int) -> bytes | None:
        """Return the last *samples* before the packet *following*, from its copy of them where it has one.

        Without a copy they are concealed. *samples* is a multiple of 2.5 ms.
        """
        count = self._decode(self._state_at, following, len(following), self._sound_at, samples, 1)
        return ctypes.string_at(self._sound_at, 2 * count) if count >= 0 else None

    def conceal(self, samples: int) -> bytes:
        """Return *samples* that go on from what was decoded last; a multiple of 2.5 ms, at most 120 ms.

        After a packet by which the encoder said that it falls silent (DTX), that is comfort noise.
        """
        count = _check(self._decode(self._state_at, None, 0, self._sound_at, samples, 0))
        return ctypes.string_at(self._sound_at, 2 * count)


def _check(result: int) -> int:
    if result < 0:
        raise ValueError(f"libopus refused: {result}")
    return result
