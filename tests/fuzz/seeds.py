"""What a run begins with: messages that tests use anyway, and what earlier runs found (corpus/, one input a line)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from gateway.protocol import rtcp, rtp
from gateway.protocol.sdp import LocalMedia, SdpSession
from tests.fuzz.targets import BETWEEN, SINGLE
from tests.support.sip_lab import ANSWER, OFFER, request_text
from tests.support.torture import VALID
from tests.support.torture_invalid import INVALID
from tests.support.torture_semantic import SEMANTIC

CORPUS: Final = Path(__file__).parent / "corpus"
_LOCAL: Final = LocalMedia("192.0.2.1", 20_000, 20_001)
_HEADERS: Final = (
    '"Zoë \\" x" <sips:1%20@[2001:db8::1]:5061;lr;transport=tls?Replaces=a>;tag=1;q=0.5', "tel:+55;phone-context=x",
    "SIP / 2.0 / UDP host : 5060;branch=z9hG4bKx;rport;received=192.0.2.1", 'Q.850;cause=16;text="x"',
    "call@x;to-tag=a;from-tag=b;early-only", "600;refresher=uac", "1 2 INVITE", "[::1]:5060;transport=tcp",
)  # fmt: skip
_DIGESTS: Final = (
    'Digest realm="r", nonce="1-salt-0", qop="auth,auth-int", algorithm=MD5-sess, stale=TRUE, opaque="o\\"p"',
    'Digest username="pbx", realm="r", nonce="2710-salt-0", uri="sip:x", response="0", nc=00000001,cnonce=c, qop=auth',
    'Digest realm="a", nonce="1", Digest realm="b", nonce="2", algorithm=SHA-512-256',
)
_CLIENT: Final = (
    "\x1b"
    + "Contact: <sip:1@x>\r\nSession-Expires: 90;refresher=uas\r\nContent-Type: application/sdp\r\n\r\n"
    + ANSWER,
    "\x86" + 'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth"\r\n\r\n',
    "\x1b" + "Require: 100rel\r\nRSeq: 7\r\nContact: <sip:1@x>\r\nRecord-Route: <sip:p;lr>, <sip:q>\r\n\r\n",
    "\x65" + "Contact: <sip:2@x>;q=0.1, <sip:3@x>\r\n\r\n",
)


def _in_dialog(method: str, *headers: str, body: str = "", cseq: int = 2) -> bytes:
    return request_text(
        method, branch=f"z9hG4bK{method}", call_id="c2", from_tag="f", to_tag="t000006", cseq=cseq, headers=headers,
        body=body,
    ).encode()  # fmt: skip


def _sip() -> Iterator[bytes]:
    yield from (*VALID.values(), *INVALID.values(), *SEMANTIC.values())
    yield request_text(body=OFFER).encode()
    yield _in_dialog("INVITE", body=OFFER)
    yield _in_dialog("REFER", "Refer-To: <sip:200@pbx.test?Replaces=a%3Bto-tag%3Db%3Bfrom-tag%3Dc>")


def seeds(target: str) -> list[bytes]:
    """Return the inputs that a run of *target* begins with."""
    made: list[bytes] = []
    if target == "every":
        made = [bytes([index]) + data for index, name in enumerate(SINGLE) for data in seeds(name)]
    elif target in {"message", "stream"}:
        made = list(_sip())
    elif target == "agent":
        made = [
            *_sip(),
            BETWEEN.join([_in_dialog("ACK", cseq=1), _in_dialog("UPDATE", body=OFFER), _in_dialog("BYE", cseq=3)]),
            BETWEEN.join([request_text("CANCEL", branch="z9hG4bKc1", call_id="c1", from_tag="f").encode()] * 2),
            BETWEEN.join([_in_dialog("INFO", "Content-Type: application/dtmf-relay", body="Signal=5\r\nDuration=100")]),
        ]
    elif target == "headers":
        made = [text.encode() for text in _HEADERS]
    elif target == "digest":
        made = [text.encode() for text in _DIGESTS]
    elif target == "client":
        made = [text.encode("latin-1", "replace") for text in _CLIENT]
    elif target == "sdp":
        session = SdpSession(1, secure=True, random_bits=lambda bits: 1 << (bits - 1))
        made = [text.encode() for text in (OFFER, ANSWER, session.create_offer(_LOCAL))]
    elif target == "media":
        key = bytes.fromhex("050a00a0")
        made = [
            rtp.build_packet(rtp.RtpHeader(101, 1, 160, 7, True), key), b"\xb1" + bytes(60),
            b"application/dtmf-relay\nSignal=5\r\nDuration=160",
        ]  # fmt: skip
    elif target == "control":
        block = rtcp.ReportBlock(7, 1, 2, 3, 4, 5, 6)
        made = [
            rtcp.build_compound([rtcp.SenderReport(1, 2, 3, 4, 5, (block,)), rtcp.SourceDescription(((1, "a@b"),))]),
            rtcp.build_compound([rtcp.ReceiverReport(1, (block,)), rtcp.Goodbye((1,), "over")]),
        ]  # fmt: skip
    elif target == "stun":
        made = [bytes.fromhex("000100002112a442") + bytes(12), bytes.fromhex("000100082112a442") + bytes(20)]
    return [*made, *found(target)]


def found(target: str) -> list[bytes]:
    """Return what earlier runs found worth keeping, those that once broke something among them."""
    path = CORPUS / f"{target}.txt"
    if not path.exists():
        return []
    return [ast.literal_eval(line) for line in path.read_text().splitlines() if line.startswith("b")]
