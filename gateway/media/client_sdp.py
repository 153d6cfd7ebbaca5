"""SDP of a WebRTC client of the SIP side: a plain description with a secure transport around it (RFC 8829). Pure.

What is said of codecs, directions and refused m-lines is the same in both, so `SdpSession` speaks of these, and the
functions here take the transport off what came and put ours onto what goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from gateway.domain.errors import RemoteProtocolError
from gateway.media.link import WEBRTC_PROFILES
from gateway.protocol.sdp import LocalMedia, NoCommonCodec
from gateway.protocol.sdp.description import (
    Attribute,
    MediaDescription,
    SessionDescription,
    ip_or_none,
    number,
    parse_sdp,
)

NOWHERE: Final = LocalMedia("192.0.2.1", 9, 9)  # RFC 5737: nobody's address, in what is never sent so
MAX_CANDIDATES: Final = 20  # of the peer; a browser with many interfaces has a dozen
_DIGESTS: Final = frozenset({"sha-256", "sha-384", "sha-512"})  # those that the DTLS library checks
_PLAIN_PROFILE: Final = "RTP/AVPF"
_TRANSPORT: Final = frozenset({
    "rtcp", "rtcp-mux", "rtcp-mux-only", "ice-ufrag", "ice-pwd", "ice-options", "ice-lite", "fingerprint", "setup",
    "tls-id", "candidate", "end-of-candidates", "bundle-only",
})  # fmt: skip
_ROLES: Final = frozenset({"actpass", "active", "passive"})


@dataclass(frozen=True, slots=True)
class RemoteTransport:
    """How the peer wants to be reached.

    Attributes:
        username: ICE username fragment.
        password: ICE password.
        lite: it only answers checks.
        fingerprints: algorithm and value of each that can be checked.
        setup: its DTLS role: ``actpass``, ``active`` or ``passive`` (RFC 8842).
        candidates: values of ``a=candidate`` that carry an address. ``.local`` names are left out: looking them up
            costs a second, and the peer's own checks tell the same.
        bundled: its audio is in a BUNDLE group.
    """

    username: str
    password: str
    lite: bool
    fingerprints: frozenset[tuple[str, str]]
    setup: str
    candidates: tuple[str, ...]
    bundled: bool = False


@dataclass(frozen=True, slots=True)
class OwnTransport:
    """How we want to be reached.

    Attributes:
        username: ICE username fragment.
        password: ICE password.
        fingerprint: algorithm and value.
        candidates: values of ``a=candidate``, the preferred one first.
        setup: our DTLS role.
        ssrc: of the stream that we send; None: it is not known, and may change.
        cname: our RTCP name.
    """

    username: str
    password: str
    fingerprint: tuple[str, str]
    candidates: Sequence[str]
    setup: str
    ssrc: int | None
    cname: str


def take_off(text: str) -> tuple[str, RemoteTransport | None]:
    """Return a description without its transport, and the transport; None where the audio is refused (an answer).

    Raises:
        RemoteProtocolError: it is malformed, or lacks what ICE and DTLS need.
        NoCommonCodec: there is no audio in it over DTLS-SRTP with RTCP on the same port.
    """
    description = parse_sdp(text)
    index = _find_audio(description)
    audio = description.media[index]
    if not audio.port and not audio.has("bundle-only"):
        return text, None
    transport = _transport(description, audio)
    if not audio.has("rtcp-mux") and not audio.has("rtcp-mux-only"):
        raise NoCommonCodec("A WebRTC client must offer a=rtcp-mux")  # RFC 8834 section 4.5
    media = [replace(one, port=0) for one in description.media]
    media[index] = replace(
        audio,
        port=NOWHERE.rtp_port,
        profile=_PLAIN_PROFILE,
        address=None,
        attributes=tuple(one for one in audio.attributes if one[0] not in _TRANSPORT),
    )
    # port 9 and 0.0.0.0 before the candidates are known (RFC 8829 section 5.2.1) would look like an old way of hold
    return str(replace(description, media=tuple(media), address=NOWHERE.address)), transport


def _find_audio(description: SessionDescription) -> int:
    found = [n for n, one in enumerate(description.media) if one.media == "audio" and one.profile in WEBRTC_PROFILES]
    if not found:
        raise NoCommonCodec("There is no audio over DTLS-SRTP in the description")
    usable = [n for n in found if description.media[n].port or description.media[n].has("bundle-only")]
    return (usable or found)[0]


def _transport(description: SessionDescription, audio: MediaDescription) -> RemoteTransport:
    sources: list[MediaDescription | SessionDescription] = [audio, description]
    group = next(
        (v.split()[1:] for k, v in description.attributes if k == "group" and v and v.startswith("BUNDLE")), []
    )
    bundled = audio.value("mid") in group
    if bundled:  # RFC 9143 section 7.1.3: the first m-line of the group tells for all
        sources += [one for one in description.media if one.value("mid") == group[0]]

    def value(name: str) -> str:
        return next((found.strip() for source in sources if (found := source.value(name))), "")

    username, password = value("ice-ufrag"), value("ice-pwd")
    if not (4 <= len(username) <= 256 and 22 <= len(password) <= 256):  # RFC 8839 section 5.4
        raise RemoteProtocolError("The SDP lacks a=ice-ufrag and a=ice-pwd")
    fingerprints: frozenset[tuple[str, str]] = frozenset()
    for source in sources:
        lines = [v.split() for k, v in source.attributes if k == "fingerprint" and v]
        fingerprints = frozenset(
            (p[0].lower(), p[1].upper()) for p in lines if len(p) == 2 and p[0].lower() in _DIGESTS
        )
        if fingerprints:
            break
    if not fingerprints:
        raise RemoteProtocolError("The SDP has no a=fingerprint by SHA-256 or better", 488)
    setup = value("setup") or "active"  # RFC 4145 section 4.1
    if setup not in _ROLES:
        raise RemoteProtocolError("The SDP has an a=setup that cannot be followed", 488)
    first = sources[-1] if isinstance(sources[-1], MediaDescription) else audio
    candidates = [c for media in (audio, first) for c in _reachable(media)]
    return RemoteTransport(
        username, password, description.has("ice-lite"), fingerprints, setup,
        tuple(dict.fromkeys(candidates))[:MAX_CANDIDATES], bundled,
    )  # fmt: skip


def _reachable(media: MediaDescription) -> list[str]:
    """Return the UDP candidates that carry an address. What asyncio cannot send to would cost the socket."""
    found = []
    for value in media.values("candidate"):
        parts = value.split()
        if len(parts) < 8 or parts[1] != "1" or parts[2].lower() != "udp" or parts[6] != "typ":
            continue
        address = ip_or_none(parts[4])
        if address is None or address.is_multicast or address.is_unspecified or str(address) == "255.255.255.255":
            continue
        if number(parts[3], 0, 2**31 - 1) is not None and number(parts[5], 1, 65535) is not None:
            found.append(" ".join(parts[:8]))  # what follows (generation, network-id, …) is not for us
    return found


def put_on(plain: str, own: OwnTransport, profile: str, *, bundled: bool = True) -> SessionDescription:
    """Return the description *plain* of ours with our transport, complete: no candidate comes later.

    Args:
        plain: by `SdpSession`, with one m-line that is not refused.
        own: the transport.
        profile: the one that was offered, of `WEBRTC_PROFILES`.
        bundled: name the audio in a BUNDLE group. Not in the answer to an offer without (RFC 9143 section 7.3.1).
    """
    description = parse_sdp(plain)
    media = list(description.media)
    index = next(n for n, one in enumerate(media) if one.port)
    audio = media[index]
    mid = audio.value("mid") or ("0" if bundled else None)
    host, port = own.candidates[0].split()[4:6]
    attributes: list[Attribute] = [one for one in audio.attributes if one[0] not in _TRANSPORT and one[0] != "mid"]
    attributes += [
        *([("mid", mid)] if mid is not None else []),
        ("rtcp-mux", None),
        ("msid", f"{own.cname} audio"),
        *([("ssrc", f"{own.ssrc} cname:{own.cname}")] if own.ssrc is not None else []),
        ("ice-ufrag", own.username),
        ("ice-pwd", own.password),
        ("fingerprint", " ".join(own.fingerprint)),
        ("setup", own.setup),
        *(("candidate", candidate) for candidate in own.candidates),
        ("end-of-candidates", None),
    ]
    media[index] = replace(audio, port=int(port), profile=profile, address=host, attributes=tuple(attributes))
    return replace(
        description,
        origin=replace(description.origin, address=host),
        address=host,
        media=tuple(media),
        attributes=(
            *description.attributes,
            *([("group", f"BUNDLE {mid}")] if bundled else []),
            ("msid-semantic", f"WMS {own.cname}"),
        ),
    )
