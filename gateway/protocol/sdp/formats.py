"""What the payload types of an m= line mean: ``a=rtpmap`` and ``a=fmtp`` (RFC 8866 section 6, RFC 3551, RFC 7587)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from gateway.domain.codecs import CODECS, COMFORT_NOISE, EVENT_CLOCKS_HZ, EVENTS, OPUS
from gateway.protocol.sdp.description import MediaDescription, number

_EVENT_RANGE: Final = "0-15"  # the sixteen DTMF digits (RFC 4733 section 3.2)
PARAMETERS: Final[Mapping[str, str]] = {OPUS.name: "useinbandfec=1", **dict.fromkeys(EVENT_CLOCKS_HZ, _EVENT_RANGE)}
"""Our ``a=fmtp`` by codec. What is left out of Opus' is as we want it: mono, full band, no DTX (RFC 7587 6.1)."""

_BY_NAME: Final = {codec.name.lower(): codec for codec in CODECS.values()}
_STATIC: Final = {13: COMFORT_NOISE} | {codec.payload_type: codec.name for codec in CODECS.values() if codec != OPUS}

# Bit rates for speech that RFC 7587 section 3.1.1 gives for the bandwidth of each sampling rate.
_SPEECH_BPS: Final = ((8000, 12_000), (12000, 16_000), (16000, 20_000), (24000, 32_000))
_MIN_BPS, _MAX_BPS = 6_000, 510_000  # of Opus (RFC 7587 section 6.1)


def rtpmap(name: str) -> str:
    """Return what stands for the codec or telephone-event *name* in ``a=rtpmap``."""
    return CODECS[name].rtpmap if name in CODECS else f"{EVENTS[8000]}/{EVENT_CLOCKS_HZ[name]}"


def named_formats(media: MediaDescription) -> Iterator[tuple[int, str]]:
    """Give payload type and name of each format of *media* that we know of, in its order."""
    mapped: dict[int, str | None] = dict(_STATIC)
    for value in media.values("rtpmap"):
        parts = value.split()
        payload_type = number(parts[0], 0, 127) if len(parts) == 2 else None
        if payload_type is not None:
            mapped[payload_type] = _name(parts[1])
    for text in media.formats:
        payload_type = number(text, 0, 127)
        name = mapped.get(payload_type) if payload_type is not None else None
        if payload_type is not None and name is not None:
            yield payload_type, name


def _name(encoding: str) -> str | None:
    """Return our name of ``encoding/clock[/channels]``; encoding names are not case-sensitive (RFC 8866 6.6)."""
    name, *numbers = encoding.split("/")
    rate = number(numbers[0], 1, 400_000) if numbers else None
    channels = number(numbers[1], 1, 255) if len(numbers) > 1 else 1
    if rate is None or channels is None or len(numbers) > 2:
        return None
    lower = name.lower()
    codec = _BY_NAME.get(lower)
    if codec is not None:
        # Some write Opus without its two channels.
        return codec.name if rate == codec.clock_rate_hz and channels in {1, codec.channels} else None
    if lower == EVENTS[8000]:
        return EVENTS.get(rate) if channels == 1 else None
    return COMFORT_NOISE if name.upper() == COMFORT_NOISE else None


def parameters(media: MediaDescription, payload_type: int) -> dict[str, str]:
    """Return the ``a=fmtp`` parameters of *payload_type*, names in lower case, without what is not ``name=value``."""
    found: dict[str, str] = {}
    for value in media.values("fmtp"):
        head, _, rest = value.strip().partition(" ")
        if number(head, 0, 127) != payload_type:
            continue
        for part in rest.split(";"):
            name, equals, text = part.partition("=")
            if equals:
                found.setdefault(name.strip().lower(), text.strip())
    return found


def max_bitrate_bps(media: MediaDescription, payload_type: int) -> int | None:
    """Return how much the Opus parameters of *payload_type* let us send, None where they do not say.

    That is ``maxaveragebitrate``, and what the bandwidth of ``maxplaybackrate`` needs: more is wasted on the peer.
    """
    found = parameters(media, payload_type)
    limits = []
    asked = number(found.get("maxaveragebitrate", ""), _MIN_BPS, _MAX_BPS)
    if asked is not None:
        limits.append(asked)
    rate = number(found.get("maxplaybackrate", ""), 8000, 48000)
    limits += [bps for limit, bps in _SPEECH_BPS if rate is not None and rate <= limit][:1]
    return min(limits, default=None)
