"""SDP between us and rtpengine. Pure.

What is told to the SIP peer is negotiated by `SdpSession`, as on the built-in plane; rtpengine is told of the result,
and its part of the exchange gives the addresses, keys and certificates that are put into what the peer sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from gateway.domain.codecs import CODECS, EVENTS, OPUS
from gateway.domain.errors import RemoteProtocolError, Unavailable
from gateway.media.client_sdp import OwnTransport, RemoteTransport
from gateway.protocol.sdp import Attribute, LocalMedia, MediaDescription, Negotiated, Origin, SessionDescription
from gateway.protocol.sdp.crypto import Crypto, usable
from gateway.protocol.sdp.description import parse_sdp
from gateway.protocol.sdp.formats import PARAMETERS, named_formats, rtpmap
from gateway.protocol.sdp.negotiation import reverse

Way = Literal["plain", "sdes", "webrtc"]
"""How packets travel between rtpengine and a peer."""

PROFILES: Final[Mapping[Way, str]] = {"plain": "RTP/AVP", "sdes": "RTP/SAVP", "webrtc": "UDP/TLS/RTP/SAVPF"}
_NOWHERE: Final = "192.0.2.1"  # RFC 5737; of those who stand in for the other side until it is there
_DISCARD_PORT: Final = 9
_DIRECTIONS: Final = frozenset({"sendrecv", "sendonly", "recvonly", "inactive"})


def stand_in(codecs: Mapping[str, int], events: Mapping[int, int] | None = None) -> str:
    """Return the description of nobody, who speaks *codecs* (payload type by name) at no address.

    Args:
        codecs: payload type by name.
        events: payload type of telephone-event by its clock rate.
    """
    formats = {**codecs, **{EVENTS[clock_hz]: number for clock_hz, number in (events or {}).items()}}
    return _text(_NOWHERE, _audio(_DISCARD_PORT, PROFILES["plain"], formats, "sendrecv"))


def _audio(
    port: int, profile: str, formats: Mapping[str, int], direction: str, extra: Sequence[Attribute] = ()
) -> MediaDescription:
    attributes: list[Attribute] = []
    for name, number in formats.items():
        attributes.append(("rtpmap", f"{number} {rtpmap(name)}"))
        if name in PARAMETERS:
            parameters = f"minptime=10;{PARAMETERS[name]}" if name == OPUS.name else PARAMETERS[name]
            attributes.append(("fmtp", f"{number} {parameters}"))
    return MediaDescription(
        "audio", port, profile, tuple(map(str, formats.values())), attributes=(*attributes, *extra, (direction, None))
    )


def _text(address: str, audio: MediaDescription) -> str:
    return str(SessionDescription(Origin("-", "1", 1, address), (audio,), address=address))


@dataclass(frozen=True, slots=True)
class PageAnswer:
    """What the page answered.

    Attributes:
        description: its answer, without what rtpengine has no use for, and without a direction.
        payload_types: payload type by codec.
    """

    description: SessionDescription
    payload_types: Mapping[str, int]

    def idle(self) -> str:
        """Return it for rtpengine while no call uses the page's leg: nothing is sent either way."""
        return self._with([("inactive", None)])

    def active(self, events: Mapping[int, int]) -> str:
        """Return it for rtpengine in a call.

        Args:
            events: payload type of telephone-event by its clock rate. The page does not know them, and passes over
                them; rtpengine tells of keys that both sides know.
        """
        lines: list[Attribute] = [("rtpmap", f"{number} {rtpmap(EVENTS[hz])}") for hz, number in events.items()]
        return self._with([*lines, ("sendrecv", None)], tuple(map(str, events.values())))

    def _with(self, lines: Sequence[Attribute], formats: Sequence[str] = ()) -> str:
        audio = self.description.media[0]
        changed = replace(audio, attributes=(*audio.attributes, *lines), formats=(*audio.formats, *formats))
        return str(replace(self.description, media=(changed,)))


def page_offer(text: str) -> str:
    """Return rtpengine's offer as the page is given it.

    Raises:
        RemoteProtocolError: it lacks what a page needs.
    """
    offer = parse_sdp(text)
    audio = _only_audio(offer, "rtpengine's offer")
    for name in ("ice-ufrag", "ice-pwd", "fingerprint", "candidate"):
        if audio.value(name) is None and offer.value(name) is None:
            raise RemoteProtocolError(f"rtpengine's offer to the page has no a={name}")
    kept = tuple(one for one in audio.attributes if one[0] != "crypto")
    # Chrome with max-bundle wants the group, though there is but one m-line
    group: Attribute = ("group", f"BUNDLE {audio.value('mid') or ''}".rstrip())
    return str(replace(offer, attributes=(*offer.attributes, group), media=(replace(audio, attributes=kept),)))


def read_page_answer(text: str) -> PageAnswer:
    """Read the page's answer. Candidates without an address are left out: its own checks tell it.

    Raises:
        RemoteProtocolError: it is malformed, refuses the audio, or lacks what ICE and DTLS need.
    """
    answer = parse_sdp(text)
    audio = _only_audio(answer, "The page's answer")
    if not audio.port:
        raise RemoteProtocolError("The page refused the audio")
    for name in ("ice-ufrag", "ice-pwd", "fingerprint", "setup"):
        if audio.value(name) is None and answer.value(name) is None:
            raise RemoteProtocolError(f"The page's answer has no a={name}")
    codecs = {name: number for number, name in named_formats(audio) if name in CODECS}
    if not codecs:
        raise RemoteProtocolError("The page's answer has none of the codecs that were offered")
    kept = tuple(
        one
        for one in audio.attributes
        if one[0] not in _DIRECTIONS and not (one[0] == "candidate" and ".local" in (one[1] or ""))
    )

    session = tuple(one for one in answer.attributes if one[0] not in {"group", "msid-semantic"})
    return PageAnswer(replace(answer, attributes=session, media=(replace(audio, attributes=kept),)), codecs)


def _only_audio(description: SessionDescription, what: str) -> MediaDescription:
    if len(description.media) != 1 or description.media[0].media != "audio":
        raise RemoteProtocolError(f"{what} does not have the one audio m-line")
    return description.media[0]


@dataclass(frozen=True, slots=True)
class OurSide:
    """Where rtpengine receives what a SIP peer sends, and by what it is protected.

    Attributes:
        local: address and ports.
        crypto: rtpengine's SDES line by suite.
        transport: of ICE and DTLS; None for plain RTP and SDES.
    """

    local: LocalMedia
    crypto: Mapping[str, Crypto]
    transport: OwnTransport | None

    @property
    def keys(self) -> Mapping[str, bytes]:
        """SDES key by suite."""
        return {suite: line.key for suite, line in self.crypto.items()}


def read_our_side(text: str, way: Way, cname: str) -> OurSide:
    """Read what rtpengine would tell the SIP peer.

    Raises:
        RemoteProtocolError: it lacks what that peer needs.
        Unavailable: rtpengine has no port for it.
    """
    description = parse_sdp(text)
    audio = _only_audio(description, "rtpengine's description")
    address = audio.address or description.address
    if address is None:
        raise RemoteProtocolError("rtpengine's description has no address")
    if not audio.port:
        raise Unavailable("rtpengine has no port for the call")
    rtcp = (audio.value("rtcp") or "").split()
    local = LocalMedia(address, audio.port, int(rtcp[0]) if rtcp and rtcp[0].isdecimal() else audio.port + 1)
    crypto = {line.suite: line for line in usable(audio.values("crypto"))}
    if way == "sdes" and not crypto:
        raise RemoteProtocolError("rtpengine gives no keys for SRTP")
    return OurSide(local, crypto, _transport(description, audio, cname) if way == "webrtc" else None)


def _transport(description: SessionDescription, audio: MediaDescription, cname: str) -> OwnTransport:
    def value(name: str) -> str:
        return (audio.value(name) or description.value(name) or "").strip()

    algorithm, _, digest = value("fingerprint").partition(" ")
    candidates = audio.values("candidate")
    if not (value("ice-ufrag") and value("ice-pwd") and digest and candidates):
        raise RemoteProtocolError("rtpengine's description lacks what ICE and DTLS need")
    return OwnTransport(
        value("ice-ufrag"), value("ice-pwd"), (algorithm, digest), candidates, value("setup") or "actpass", None, cname
    )


def describe_peer(
    negotiated: Negotiated,
    way: Way,
    page: Mapping[str, int],
    ours: OurSide,
    transport: RemoteTransport | None = None,
) -> str:
    """Return the SIP peer's description as rtpengine is told of it, as an answer to what rtpengine offered.

    Codecs beside the one in use are told only where the page knows them by the same number: rtpengine decodes and
    encodes what has another number on each side.

    Args:
        negotiated: what was agreed on with it.
        way: how its packets travel.
        page: payload type by codec of the page.
        ours: what rtpengine offered.
        transport: of ICE and DTLS.
    """
    formats = {negotiated.codec: negotiated.payload_type}
    formats |= {name: number for name, number in negotiated.send.items() if page.get(name) == number}
    formats |= {EVENTS[clock_hz]: number for clock_hz, number in negotiated.events.items()}
    extra: list[Attribute] = [("ptime", str(negotiated.ptime_ms))]
    host, port = negotiated.remote
    if way == "webrtc" and transport is not None:
        host, port = _NOWHERE, _DISCARD_PORT
        setup = transport.setup if transport.setup != "actpass" else "active"
        extra += [
            ("ice-ufrag", transport.username),
            ("ice-pwd", transport.password),
            *(("fingerprint", " ".join(one)) for one in sorted(transport.fingerprints)),
            ("setup", setup),
            *(("candidate", candidate) for candidate in transport.candidates),
            ("rtcp-mux", None),
        ]
    else:
        rtcp_host, rtcp_port = negotiated.remote_rtcp
        family = 6 if ":" in rtcp_host else 4
        extra.append(("rtcp", f"{rtcp_port} IN IP{family} {rtcp_host}"))
        if negotiated.rtcp_mux:
            extra.append(("rtcp-mux", None))
        if way == "sdes" and negotiated.crypto is not None:
            theirs = negotiated.crypto.theirs
            tag = ours.crypto[theirs.suite].tag if theirs.suite in ours.crypto else theirs.tag
            extra.append(("crypto", Crypto(tag, theirs.suite, theirs.key).value()))
    return _text(host, _audio(port, PROFILES[way], formats, reverse(negotiated.direction), extra))
