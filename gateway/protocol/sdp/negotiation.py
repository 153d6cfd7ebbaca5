"""Offer and answer of the SIP side (RFC 3264), as a machine without I/O.

One audio stream is spoken; each other m= line of the peer is refused in place (port 0). Deviations:

- An answer keeps every common codec of the offer, in its order, so that either side may switch.
- telephone-event at 8000 beside Opus alone is taken, though RFC 4733 section 2.1 wants the clock rate of the audio:
  many phones know no other.
- ``c=0.0.0.0`` (RFC 2543 hold) is answered as ``sendonly`` is, with ``recvonly``: the peer may play music.
- SRTP is answered with SDES keys (RFC 4568); where an offer has both, it is taken over plain RTP. Keys by DTLS are not
  known on this side, and are refused with 488.
- An offer leaves out what holds without being said, the keys 0 to 15 of telephone-event (RFC 4733 section 2.4.1), 20 ms
  and the port of RTCP: so that an INVITE with four codecs and credentials stays below the 1300 bytes of RFC 3261
  section 18.1.1.
- ``a=rtcp-mux`` (RFC 5761) is answered and not offered: every peer can do without.
"""

from __future__ import annotations

import copy
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from gateway.domain.codecs import CODECS, COMFORT_NOISE, EVENT_CLOCKS_HZ, EVENTS, OPUS
from gateway.domain.errors import LocalProtocolError, RemoteProtocolError
from gateway.protocol.sdp.crypto import SECURE_PROFILES, Crypto, CryptoPair, OwnKeys, usable
from gateway.protocol.sdp.description import (
    Attribute,
    MediaDescription,
    Origin,
    SessionDescription,
    ip_or_none,
    number,
    parse_connection,
    parse_sdp,
)
from gateway.protocol.sdp.formats import PARAMETERS, max_bitrate_bps, named_formats, rtpmap

HoldDirection = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
"""RFC 3264 section 5.1, from the side of whose description it is in."""

_DIRECTIONS: Final[tuple[HoldDirection, ...]] = ("sendrecv", "sendonly", "recvonly", "inactive")
_PREFERRED: Final[dict[str, int]] = {
    **{codec.name: codec.payload_type for codec in CODECS.values()}, EVENTS[8000]: 101, EVENTS[48000]: 110,
}  # fmt: skip
DEFAULT_PTIME_MS: Final = 20  # RFC 3551 section 4.5
_PROFILES: Final = frozenset({"RTP/AVP", "RTP/AVPF"})


class NoCommonCodec(RemoteProtocolError):
    """The peer's description holds no audio that we speak: no common codec, or only transports that we lack."""

    code = "no_common_codec"
    sip_status = 488

    def __init__(self, message: str = "No common codec; offer opus, G722, PCMA or PCMU") -> None:
        super().__init__(message, 488)


@dataclass(frozen=True, slots=True)
class LocalMedia:
    """Where we receive.

    Attributes:
        address: IP address that the peer reaches us by.
        rtp_port: UDP port.
        rtcp_port: UDP port.
    """

    address: str
    rtp_port: int
    rtcp_port: int


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What both sides agreed on.

    Attributes:
        codec: the one that we send by default, a name of `gateway.domain.codecs.CODECS`.
        payload_type: its number towards the peer.
        ptime_ms: milliseconds of audio per packet that the peer asked for.
        direction: ours: ``recvonly`` where the peer holds us.
        events: payload type of RFC 4733 events towards the peer by their clock rate; empty where it takes none.
        remote: host and port that the peer receives RTP on; port 0 or host 0.0.0.0 where it receives nothing.
        remote_rtcp: the same for RTCP.
        send: payload type towards the peer by codec.
        receive: codec by payload type that the peer may send.
        crypto: keys of both sides, None for plain RTP.
        rtcp_mux: RTCP goes by the port of RTP (RFC 5761).
        max_bitrate_bps: what the peer wants *codec* to have at most, None where it says nothing.
    """

    codec: str
    payload_type: int
    ptime_ms: int
    direction: HoldDirection
    remote: tuple[str, int]
    remote_rtcp: tuple[str, int]
    events: Mapping[int, int] = field(default_factory=dict)
    send: Mapping[str, int] = field(default_factory=dict)
    receive: Mapping[int, str] = field(default_factory=dict)
    crypto: CryptoPair | None = None
    rtcp_mux: bool = False
    max_bitrate_bps: int | None = None

    @property
    def telephone_event(self) -> int | None:
        """Payload type of events beside *codec*, None where the peer takes none."""
        clock = CODECS[self.codec].clock_rate_hz
        return self.events.get(clock, next(iter(self.events.values()), None))

    @property
    def sends(self) -> bool:
        """Whether we may send audio."""
        return self.direction in {"sendrecv", "sendonly"}

    @property
    def receives(self) -> bool:
        """Whether the peer may send audio."""
        return self.direction in {"sendrecv", "recvonly"}


def reverse(direction: HoldDirection) -> HoldDirection:
    """Return the same direction as the other side sees it."""
    return {"sendonly": "recvonly", "recvonly": "sendonly"}.get(direction, direction)  # type: ignore[return-value]


def meet(one: HoldDirection, other: HoldDirection) -> HoldDirection:
    """Return what both allow, both seen from the same side."""
    sends = one in {"sendrecv", "sendonly"} and other in {"sendrecv", "sendonly"}
    receives = one in {"sendrecv", "recvonly"} and other in {"sendrecv", "recvonly"}
    return _DIRECTIONS[(0 if receives else 1) if sends else (2 if receives else 3)]


class SdpSession:
    """Offer and answer of one call.

    Args:
        session_id: number of the o= line, random (RFC 8866 section 5.2).
        codecs: audio codecs that we speak, best first.
        ptime_ms: milliseconds of audio per packet that we ask for.
        secure: offer SRTP, and nothing else.
        random_bits: gives random bits that nobody can guess, for SRTP keys.
    """

    def __init__(
        self,
        session_id: int,
        codecs: Sequence[str] = ("PCMU", "PCMA"),
        ptime_ms: int = 20,
        *,
        secure: bool = False,
        random_bits: Callable[[int], int] = secrets.randbits,
    ) -> None:
        self._session_id = session_id
        self._codecs = tuple(codecs)
        self._ptime_ms = ptime_ms
        self._secure = secure
        self._random_bits = random_bits
        self._keys = OwnKeys(random_bits)
        self._offered_crypto: list[Crypto] = []
        self._version = 0
        self._sent: SessionDescription | None = None
        self._offered: dict[int, str] | None = None
        self._lines: tuple[MediaDescription, ...] = ()  # refused ones as they were answered; ours at _index
        self._index = 0
        self._numbers: dict[str, int] = {}  # payload types in use: they keep their meaning (RFC 3264 section 8.3.2)
        self.negotiated: Negotiated | None = None

    def use_keys(self, keys: Mapping[str, bytes]) -> None:
        """Write these SRTP keys, by suite, into what is sent from now on: those of whoever protects the packets."""
        self._keys = OwnKeys(self._random_bits, keys)

    def use_numbers(self, numbers: Mapping[str, int]) -> None:
        """Offer these payload types, by codec, unless the peer had others first."""
        self._numbers = {**numbers, **self._numbers}

    def create_offer(self, local: LocalMedia, direction: HoldDirection = "sendrecv") -> str:
        """Return an offer with all that we speak; in a running session, one that fits it.

        Args:
            local: where we receive.
            direction: ours.
        """
        numbers = self._choose_numbers()
        profile = self._lines[self._index].profile if self._lines else "RTP/SAVP" if self._secure else "RTP/AVP"
        formats = {number: name for name, number in numbers.items()}
        audio = self._audio(profile, formats, local, direction, None, brief=True)
        pair = self.negotiated.crypto if self.negotiated is not None else None
        self._offered_crypto = [] if profile not in SECURE_PROFILES else [pair.ours] if pair else self._keys.offer()
        audio = self._extended(
            audio, self._offered_crypto, mux=self.negotiated is not None and self.negotiated.rtcp_mux
        )
        mid = self._lines[self._index].value("mid") if self._lines else None
        if mid is not None:  # it names the m-line for the whole session
            audio = replace(audio, attributes=(*audio.attributes, ("mid", mid)))
        lines = list(self._lines) or [audio]
        lines[self._index] = audio
        self._offered = {number: name for name, number in numbers.items()}
        return self._write(local, lines, always=True)

    def accept_answer(self, text: str) -> Negotiated:
        """Take the answer to our last offer. A second answer to it (a fork, 183 then 200) replaces the first.

        Raises:
            RemoteProtocolError: it is malformed or does not fit the offer.
            NoCommonCodec: the peer refused the audio.
            LocalProtocolError: nothing was offered.
        """
        if self._offered is None or self._sent is None:
            raise LocalProtocolError("An SDP answer without an offer")
        answer = parse_sdp(text)
        if len(answer.media) != len(self._sent.media):
            raise RemoteProtocolError("SDP answer has another number of m= lines than the offer", 488)
        ours = self._sent.media[self._index]
        audio = answer.media[self._index]
        if audio.media != ours.media:
            raise RemoteProtocolError("SDP answer has its m= lines in another order", 488)
        if audio.port == 0:
            raise NoCommonCodec("The peer refused the audio")
        crypto = self._answered_crypto(audio) if ours.profile in SECURE_PROFILES else None
        if audio.profile not in (SECURE_PROFILES if crypto is not None else _PROFILES):
            raise NoCommonCodec(f"The peer answered with the transport {audio.profile[:20]!r}, which was not offered")
        theirs = self._common(audio)
        offered_names = set(self._offered.values())
        theirs = {number: name for number, name in theirs.items() if name in offered_names}
        # Some peers send with the numbers of their own answer, though ours hold (RFC 3264 section 6.1).
        receive = {**{n: c for n, c in theirs.items() if n not in self._offered}, **self._offered}
        negotiated = self._agree(answer, audio, theirs, receive, _direction(ours, self._sent), crypto)
        negotiated = _with_mux(negotiated, mux=ours.has("rtcp-mux") and audio.has("rtcp-mux"))
        self._keep(list(self._sent.media), negotiated)
        return negotiated

    def answer_offer(
        self, text: str, local: LocalMedia, direction: HoldDirection = "sendrecv"
    ) -> tuple[str, Negotiated]:
        """Answer the peer's offer. Where it cannot be answered the session stays as it was.

        Args:
            text: the offer.
            local: where we receive.
            direction: what we want, ours.

        Raises:
            RemoteProtocolError: it is malformed.
            NoCommonCodec: there is no audio in it that we speak.
        """
        offer = parse_sdp(text)
        index = self._find_audio(offer)
        audio = offer.media[index]
        common = self._common(audio)
        crypto = self._choose_crypto(audio)
        negotiated = self._agree(offer, audio, common, common, direction, crypto)
        negotiated = _with_mux(negotiated, mux=audio.has("rtcp-mux"))
        lines = [
            self._audio(audio.profile, common, local, negotiated.direction, negotiated.ptime_ms)
            if position == index
            else MediaDescription(media.media, 0, media.profile, media.formats)
            for position, media in enumerate(offer.media)
        ]
        lines[index] = self._extended(lines[index], [crypto.ours] if crypto else [], mux=negotiated.rtcp_mux)
        mid = audio.value("mid")
        if mid is not None:
            lines[index] = replace(lines[index], attributes=(*lines[index].attributes, ("mid", mid)))
        self._index = index
        self._offered = None
        self._keep(lines, negotiated)
        return self._write(local, lines, always=False), negotiated

    def preview(self, text: str) -> Negotiated:
        """Return what an answer to the peer's offer would agree on; nothing changes. Raises as `answer_offer` does."""
        return copy.copy(self).answer_offer(text, LocalMedia("192.0.2.1", 9, 9))[1]  # RFC 5737

    def _find_audio(self, offer: SessionDescription) -> int:
        audio = [(n, m) for n, m in enumerate(offer.media) if m.media == "audio" and m.port]
        secure = [(n, m) for n, m in audio if m.profile in SECURE_PROFILES and usable(m.values("crypto"))]
        plain = [(n, m) for n, m in audio if m.profile in _PROFILES]
        for index, media in (*secure, *plain):
            if any(name in CODECS for name in self._common(media).values()):
                return index
        if not audio:
            raise NoCommonCodec("The offer holds no audio")
        if not plain and not secure:
            raise NoCommonCodec("The offer holds no audio over RTP/AVP, nor over RTP/SAVP with SDES keys that we know")
        raise NoCommonCodec

    def _choose_crypto(self, audio: MediaDescription) -> CryptoPair | None:
        """Return the keys for the answer to *audio*: the first suite that both know (RFC 4568 section 5.1.2)."""
        if audio.profile not in SECURE_PROFILES:
            return None
        theirs = usable(audio.values("crypto"))[0]
        return CryptoPair(self._keys.line(theirs.tag, theirs.suite), theirs)

    def _answered_crypto(self, audio: MediaDescription) -> CryptoPair:
        """Return the keys that the answer *audio* chose from our offer (RFC 4568 section 5.1.3)."""
        offered = {(crypto.tag, crypto.suite): crypto for crypto in self._offered_crypto}
        lines = usable(audio.values("crypto"))
        if audio.profile not in SECURE_PROFILES or len(lines) != 1 or (lines[0].tag, lines[0].suite) not in offered:
            raise NoCommonCodec("The peer did not take the encryption that was offered")
        return CryptoPair(offered[lines[0].tag, lines[0].suite], lines[0])

    @staticmethod
    def _extended(media: MediaDescription, crypto: Sequence[Crypto], *, mux: bool) -> MediaDescription:
        """Return *media* with keys, and with RTCP on the port of RTP."""
        attributes = [(name, value) for name, value in media.attributes if not (mux and name == "rtcp")]
        attributes += [("rtcp", str(media.port)), ("rtcp-mux", None)] if mux else []
        attributes += [("crypto", line.value()) for line in crypto]
        return replace(media, attributes=tuple(attributes))

    def _common(self, media: MediaDescription) -> dict[int, str]:
        """Return codec by payload type, in the order of *media*, each codec once, telephone-event as well."""
        found: dict[int, str] = {}
        for payload_type, name in named_formats(media):
            if (name in self._codecs or name in EVENT_CLOCKS_HZ) and name not in found.values():
                found[payload_type] = name
        clocks = {CODECS[name].clock_rate_hz for name in found.values() if name in CODECS}
        events = {EVENT_CLOCKS_HZ[name] for name in found.values() if name in EVENT_CLOCKS_HZ}
        fitting = clocks & events or events & {8000}
        return {n: name for n, name in found.items() if EVENT_CLOCKS_HZ.get(name, 0) in {0, *fitting}}

    def _agree(
        self,
        description: SessionDescription,
        audio: MediaDescription,
        send: Mapping[int, str],
        receive: Mapping[int, str],
        wanted: HoldDirection,
        crypto: CryptoPair | None,
    ) -> Negotiated:
        codecs = {name: payload_type for payload_type, name in send.items() if name in CODECS}
        if not codecs:
            raise NoCommonCodec
        codec = next(iter(codecs))
        host = audio.address or description.address
        if host is None:
            raise RemoteProtocolError("SDP has no c= line")
        address = ip_or_none(host)
        if address is not None and (address.is_multicast or str(address) == "255.255.255.255"):
            raise RemoteProtocolError("SDP asks for audio to a group address", 488)
        direction = meet(reverse(_direction(audio, description)), wanted)
        if address is not None and address.is_unspecified:  # RFC 2543 hold, RFC 3264 section 8.4
            direction = meet(direction, "recvonly")
        return Negotiated(
            codec=codec,
            payload_type=codecs[codec],
            ptime_ms=_ptime(audio, description, self._ptime_ms),
            direction=direction,
            events={EVENT_CLOCKS_HZ[name]: n for n, name in send.items() if name in EVENT_CLOCKS_HZ},
            remote=(host, audio.port),
            remote_rtcp=_rtcp(audio, host),
            send=codecs,
            receive={**{n: name for n, name in named_formats(audio) if name == COMFORT_NOISE}, **receive},
            crypto=crypto,
            max_bitrate_bps=max_bitrate_bps(audio, codecs[codec]) if codec == OPUS.name else None,
        )

    def _audio(
        self,
        profile: str,
        formats: Mapping[int, str],
        local: LocalMedia,
        direction: HoldDirection,
        ptime_ms: int | None,
        *,
        brief: bool = False,
    ) -> MediaDescription:
        attributes: list[Attribute] = []
        for n, name in formats.items():
            attributes.append(("rtpmap", f"{n} {rtpmap(name)}"))
            if name in PARAMETERS and not (brief and name in EVENT_CLOCKS_HZ):
                attributes.append(("fmtp", f"{n} {PARAMETERS[name]}"))
        if not (brief and self._ptime_ms == DEFAULT_PTIME_MS):
            attributes.append(("ptime", str(ptime_ms or self._ptime_ms)))
        if local.rtcp_port != local.rtp_port + 1:
            attributes.append(("rtcp", str(local.rtcp_port)))
        attributes.append((direction, None))
        return MediaDescription(
            "audio", local.rtp_port, profile, tuple(map(str, formats)), attributes=tuple(attributes)
        )

    def _choose_numbers(self) -> dict[str, int]:
        clocks = {CODECS[name].clock_rate_hz for name in self._codecs}
        names = (*self._codecs, *(name for rate, name in EVENTS.items() if rate in clocks))
        order = list(names)
        if self.negotiated is not None:  # the codec in use first, so that a refresh changes nothing
            order.sort(key=lambda name: (name in EVENT_CLOCKS_HZ, not self.negotiated or name != self.negotiated.codec))
        taken = set(self._numbers.values())
        chosen: dict[str, int] = {}
        for name in order:
            payload_type = self._numbers.get(name, _PREFERRED[name])
            if name not in self._numbers and payload_type in taken:
                payload_type = next(n for n in range(96, 128) if n not in taken)
            taken.add(payload_type)
            chosen[name] = payload_type
        return chosen

    def _keep(self, lines: Sequence[MediaDescription], negotiated: Negotiated) -> None:
        self._lines = tuple(lines)
        reused = set(negotiated.receive)
        self._numbers = {name: n for name, n in self._numbers.items() if n not in reused}
        self._numbers.update({name: payload_type for payload_type, name in negotiated.receive.items()})
        self.negotiated = negotiated

    def _write(self, local: LocalMedia, lines: Sequence[MediaDescription], *, always: bool) -> str:
        """Return the description as text; its version goes up when it says something else (RFC 3264 section 8)."""
        origin = Origin("-", str(self._session_id), self._version, local.address)
        description = SessionDescription(origin, tuple(lines), address=local.address)
        if self._sent is None or always or description != self._sent:
            self._version += 1
            description = replace(description, origin=replace(origin, version=self._version))
        self._sent = description
        return str(description)


def _with_mux(negotiated: Negotiated, *, mux: bool) -> Negotiated:
    return replace(negotiated, rtcp_mux=True, remote_rtcp=negotiated.remote) if mux else negotiated


def _direction(media: MediaDescription, description: SessionDescription) -> HoldDirection:
    for level in (media, description):
        for direction in _DIRECTIONS:
            if level.has(direction):
                return direction
    return "sendrecv"


def _ptime(media: MediaDescription, description: SessionDescription, default_ms: int) -> int:
    """Return the ptime asked for, *default_ms* where there is none or it makes no sense; no more than maxptime."""
    text = (media.value("ptime") or description.value("ptime") or "").strip()
    limit = number((media.value("maxptime") or "").strip(), 10, 1000) or 60
    asked = number(text.partition(".")[0], 10, 60)
    return min(asked or default_ms, limit)


def _rtcp(media: MediaDescription, host: str) -> tuple[str, int]:
    """Return where the peer receives RTCP (RFC 3605); by default the port after that of RTP."""
    fallback = (host, min(media.port + 1, 65535))
    parts = (media.value("rtcp") or "").split(maxsplit=1)
    port = number(parts[0], 1, 65535) if parts else None
    if port is None:
        return fallback
    if len(parts) == 1:
        return host, port
    try:
        return parse_connection(parts[1]), port
    except RemoteProtocolError:
        return fallback
