"""The one offer that the leg makes and the answer that it takes (RFC 8829, RFC 8843 with a single m-line). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.domain.codecs import CODECS, OPUS
from gateway.domain.errors import RemoteProtocolError
from gateway.media.page_side import PAGE_PAYLOAD_TYPES
from gateway.protocol.sdp.description import MediaDescription, Origin, SessionDescription, parse_sdp

PAYLOAD_TYPES: Mapping[str, int] = PAGE_PAYLOAD_TYPES
"""Ours, which an answerer keeps (RFC 3264 section 6.1), so that a leg made anew in a call has the same."""

OPUS_PARAMETERS: Final = "minptime=10;useinbandfec=1"  # mono, since it does not say stereo; no DTX


@dataclass(frozen=True, slots=True)
class LocalPart:
    """Our side of the transport.

    Attributes:
        username: ICE username fragment.
        password: ICE password.
        fingerprint: algorithm and value.
        candidates: values of ``a=candidate``.
        ssrc: of the stream that we send.
        cname: our RTCP name.
        session_id: number of the o= line.
    """

    username: str
    password: str
    fingerprint: tuple[str, str]
    candidates: Sequence[str]
    ssrc: int
    cname: str
    session_id: int


@dataclass(frozen=True, slots=True)
class RemotePart:
    """What the answer says.

    Attributes:
        username: ICE username fragment.
        password: ICE password.
        lite: the peer only answers checks.
        fingerprints: algorithm and value of each.
        server: whether we are the DTLS server: the peer is ``active``.
        candidates: values of ``a=candidate``, without those that name a host by mDNS.
        payload_types: payload type by codec that both sides speak, the answer's first first.
        sends: whether the peer will send.
        receives: whether the peer wants to receive.
    """

    username: str
    password: str
    lite: bool
    fingerprints: Sequence[tuple[str, str]]
    server: bool
    candidates: Sequence[str]
    payload_types: Mapping[str, int]
    sends: bool
    receives: bool


def build_offer(local: LocalPart) -> str:
    """Return the complete offer: one audio m-line with all codecs, sendrecv, no RTP header extensions.

    No ``a=ptime``: Chrome makes it a parameter of each codec, and then refuses to switch between them by
    `RTCRtpSender.setParameters`, since none is equal to what it can do. Its frames have 20 ms anyway.
    """
    algorithm, value = local.fingerprint
    audio = MediaDescription(
        "audio",
        9,
        "UDP/TLS/RTP/SAVPF",
        tuple(str(number) for number in PAYLOAD_TYPES.values()),
        "0.0.0.0",
        (
            ("rtcp", "9 IN IP4 0.0.0.0"),
            ("mid", "0"),
            ("sendrecv", None),
            ("rtcp-mux", None),
            *(("rtpmap", f"{number} {CODECS[name].rtpmap}") for name, number in PAYLOAD_TYPES.items()),
            ("fmtp", f"{OPUS.payload_type} {OPUS_PARAMETERS}"),
            ("msid", f"{local.cname} audio"),
            ("ssrc", f"{local.ssrc} cname:{local.cname}"),
            ("ice-ufrag", local.username),
            ("ice-pwd", local.password),
            ("fingerprint", f"{algorithm} {value}"),
            ("setup", "actpass"),
            *(("candidate", candidate) for candidate in local.candidates),
            ("end-of-candidates", None),
        ),
    )
    return str(
        SessionDescription(
            Origin("-", str(local.session_id), 1, "127.0.0.1"),  # RFC 8829 section 5.2.1: says nothing about us
            (audio,),
            attributes=(("group", "BUNDLE 0"), ("msid-semantic", f"WMS {local.cname}")),
        )
    )


def parse_answer(text: str) -> RemotePart:
    """Read the page's answer.

    Raises:
        RemoteProtocolError: it is malformed, refuses the audio, or lacks what ICE and DTLS need.
    """
    answer = parse_sdp(text)
    if len(answer.media) != 1 or answer.media[0].media != "audio":
        raise RemoteProtocolError("The page's answer does not have the one audio m-line that was offered")
    audio = answer.media[0]
    if audio.port == 0:
        raise RemoteProtocolError("The page refused the audio")

    def value(name: str) -> str:
        found = audio.value(name) or answer.value(name)
        if not found:
            raise RemoteProtocolError(f"The page's answer has no a={name}")
        return found.strip()

    setup = value("setup")
    if setup not in {"active", "passive"}:
        raise RemoteProtocolError("The page's answer does not choose a DTLS role")
    value("fingerprint")
    fingerprints = [
        (algorithm.lower(), digest.strip())
        for algorithm, _, digest in (
            text.strip().partition(" ")
            for text in [*audio.values("fingerprint"), *(v for k, v in answer.attributes if k == "fingerprint" and v)]
        )
    ]
    direction = next((d for d in ("sendonly", "recvonly", "inactive") if audio.has(d)), "sendrecv")
    codecs = {number: codec for codec, number in PAYLOAD_TYPES.items()}
    chosen = [int(text) for text in audio.formats if text.isdecimal() and int(text) in codecs]
    if not chosen:
        raise RemoteProtocolError("The page's answer has none of the codecs that were offered")
    return RemotePart(
        username=value("ice-ufrag"),
        password=value("ice-pwd"),
        lite=answer.has("ice-lite"),
        fingerprints=fingerprints,
        server=setup == "active",
        candidates=_reachable(audio),
        payload_types={codecs[number]: number for number in chosen},
        sends=direction in {"sendrecv", "sendonly"},
        receives=direction in {"sendrecv", "recvonly"},
    )


def _reachable(audio: MediaDescription) -> list[str]:
    """Return the UDP candidates of the RTP component that carry an address.

    Looking up ``.local`` names costs a second; the peer's checks tell the same address at once.
    """
    found = []
    for value in audio.values("candidate"):
        parts = value.split()
        if len(parts) >= 8 and parts[1] == "1" and parts[2].lower() == "udp" and not parts[4].endswith(".local"):
            found.append(value)
    return found
