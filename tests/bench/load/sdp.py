"""The SDP of the load's peers: PCMU and telephone-events, 20 ms, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

HOST: Final = "127.0.0.1"
_AUDIO: Final = (
    "a=rtpmap:0 PCMU/8000", "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16", "a=sendrecv",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Transport:
    """What ICE and DTLS need to know of one side.

    Attributes:
        username: ICE username fragment.
        password: ICE password.
        fingerprint: algorithm and value.
        setup: DTLS role: actpass, active or passive.
        candidates: values of ``a=candidate``.
        lite: it only answers checks.
    """

    username: str
    password: str
    fingerprint: tuple[str, str]
    setup: str
    candidates: Sequence[str]
    lite: bool = False


def _session(port: int, profile: str, attributes: Sequence[str], before: Sequence[str] = ()) -> str:
    lines = (
        "v=0", f"o=- 1 1 IN IP4 {HOST}", "s=-", f"c=IN IP4 {HOST}", "t=0 0", *before,
        f"m=audio {port} {profile} 0 101", *_AUDIO, *attributes,
    )  # fmt: skip
    return "\r\n".join(lines) + "\r\n"


def plain(port: int) -> str:
    """Return the SDP of a phone that receives RTP on *port*."""
    return _session(port, "RTP/AVP", ("a=ptime:20",))


def plain_target(sdp: str) -> tuple[str, int]:
    """Return where the SDP of a phone's peer wants RTP."""
    host = next(line.split()[-1] for line in sdp.splitlines() if line.startswith("c="))
    port = next(line.split()[1] for line in sdp.splitlines() if line.startswith("m=audio"))
    return host, int(port)


def webrtc(own: Transport, ssrc: int) -> str:
    """Return the SDP of a page."""
    attributes = (
        "a=rtcp-mux", "a=mid:0", f"a=ssrc:{ssrc} cname:load", "a=rtcp:9 IN IP4 0.0.0.0", f"a=ice-ufrag:{own.username}",
        f"a=ice-pwd:{own.password}", f"a=fingerprint:{' '.join(own.fingerprint)}", f"a=setup:{own.setup}",
        *(f"a=candidate:{candidate}" for candidate in own.candidates), "a=end-of-candidates",
    )  # fmt: skip
    return _session(9, "UDP/TLS/RTP/SAVPF", attributes, ("a=group:BUNDLE 0",))


def webrtc_transport(sdp: str) -> Transport:
    """Read what a page's peer said."""
    found: dict[str, list[str]] = {}
    for line in sdp.splitlines():
        if line.startswith("a="):
            name, _, value = line[2:].partition(":")
            found.setdefault(name, []).append(value.strip())
    algorithm, _, digest = found["fingerprint"][0].partition(" ")
    usable = [value for value in found.get("candidate", []) if value.split()[1] == "1" and " udp " in value.lower()]
    return Transport(
        found["ice-ufrag"][0], found["ice-pwd"][0], (algorithm.lower(), digest), found["setup"][0], usable,
        "ice-lite" in found,
    )  # fmt: skip
