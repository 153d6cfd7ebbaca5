"""The messages of RFC 5118 (SIP torture tests for IPv6), by section."""

from __future__ import annotations

from typing import Final

from tests.support.torture import message_text


def _register(uri: str) -> bytes:
    return message_text(
        f"""
REGISTER {uri} SIP/2.0
To: sip:user@example.com
From: sip:user@example.com;tag=81x2
Via: SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bKas3-111
Call-ID: SSG9559905523997077@hlau_4100
Max-Forwards: 70
Contact: "Caller" <sip:caller@[2001:db8::1]>
CSeq: 98176 REGISTER
Content-Length: 0
"""
    )


def _small(method: str, uri: str, *vias: str) -> bytes:
    lines = "\n".join(f"Via: SIP/2.0/{via}" for via in vias)
    return message_text(
        f"""
{method} {uri} SIP/2.0
To: sip:user@example.com{";tag=bd76ya" if method == "BYE" else ""}
From: sip:user@example.com;tag=81x2
{lines}
Call-ID: SSG9559905523997077@hlau_4100
Max-Forwards: 70
CSeq: 321 {method}
Content-Length: 0
"""
    )


def _invite(via: str, contact: str, body: str) -> bytes:
    return message_text(
        f"""
INVITE sip:user@[2001:db8::10] SIP/2.0
To: sip:user@[2001:db8::10]
From: sip:user@example.com;tag=81x2
Via: SIP/2.0/UDP {via};branch=z9hG4bKas3-111
Call-ID: SSG9559905523997077@hlau_4100
Contact: "Caller" <{contact}>
CSeq: 8612 INVITE
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: {len(body.encode()) + body.count(chr(10))}
""",
        body,
    )


MESSAGES: Final[dict[str, bytes]] = {
    "4.1 valid reference": _register("sip:[2001:db8::10]"),
    "4.2 reference without brackets": _register("sip:2001:db8::10"),
    "4.3 port inside the brackets": _register("sip:[2001:db8::10:5070]"),
    "4.4 port outside the brackets": _register("sip:[2001:db8::10]:5070"),
    "4.5 received with brackets": _small(
        "BYE", "sip:[2001:db8::10]", "UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=z9hG4bKas3-111"
    ),
    "4.5 received without brackets": _small(
        "OPTIONS", "sip:[2001:db8::10]", "UDP [2001:db8::9:1];received=2001:db8::9:255;branch=z9hG4bKas3"
    ),
    "4.6 SDP with IPv6": _invite(
        "[2001:db8::20]", "sip:user@[2001:db8::20]",
        "v=0\no=assistant 971731711378798081 0 IN IP6 2001:db8::20\ns=Live video feed for today's meeting\n"
        "c=IN IP6 2001:db8::20\nt=3338481189 3370017201\nm=audio 6000 RTP/AVP 2\na=rtpmap:2 G726-32/8000\n"
        "m=video 6024 RTP/AVP 107\na=rtpmap:107 H263-1998/90000\n",
    ),
    "4.7 both families in Via": _small(
        "BYE", "sip:user@host.example.net", "UDP [2001:db8::9:1]:6050;branch=z9hG4bKas3-111",
        "UDP 192.0.2.1;branch=z9hG4bKjhja8781hjuaij65144",
        "TCP [2001:db8::9:255];branch=z9hG4bK451jj;received=192.0.2.200",
    ),
    "4.8 both families in SDP": _invite(
        "[2001:db8::9:1]", "sip:caller@[2001:db8::9:1]",
        "v=0\no=bob 280744730 28977631 IN IP4 host.example.com\ns=\nt=0 0\nm=audio 22334 RTP/AVP 0\n"
        "c=IN IP4 192.0.2.1\nm=video 6024 RTP/AVP 107\nc=IN IP6 2001:db8::1\na=rtpmap:107 H263-1998/90000\n",
    ),
    "4.9 IPv4-mapped addresses": _invite(
        "[::ffff:192.0.2.10]:19823", "sip:user@[::ffff:192.0.2.10]:19823",
        "v=0\no=bob 280744730 28977631 IN IP6 ::ffff:192.0.2.10\ns=\nc=IN IP6 ::ffff:192.0.2.10\nt=0 0\n"
        "m=audio 22334 RTP/AVP 0\nm=video 6024 RTP/AVP 107\na=rtpmap:107 H263-1998/90000\n",
    ),
    "4.10 three colons": _small(
        "OPTIONS", "sip:user@[2001:db8:::192.0.2.1]", "UDP [2001:db8:::192.0.2.1];branch=z9hG4bKas3-111"
    ),
}  # fmt: skip
