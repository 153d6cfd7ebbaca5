"""What is fuzzed: each target takes any bytes and raises only when something is wrong with us."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Callable
from typing import Final

from gateway.domain.errors import ConfigError, RemoteProtocolError
from gateway.protocol import rtcp, rtp
from gateway.protocol.dtmf import EventReceiver, parse_info
from gateway.protocol.sdp import LocalMedia, SdpSession, parse_sdp
from gateway.protocol.sip.agent import Agent, AgentSettings
from gateway.protocol.sip.digest import DigestClient, parse_auth
from gateway.protocol.sip.digest_server import AuthLimits, DigestServer, Verdict
from gateway.protocol.sip.engine import NewCall
from gateway.protocol.sip.events import parse_reason
from gateway.protocol.sip.flow import Transmit
from gateway.protocol.sip.framing import StreamFramer
from gateway.protocol.sip.message import (
    IncomingRequest,
    IncomingResponse,
    find_sdp,
    make_response,
    parse_message,
    to_bytes,
)
from gateway.protocol.sip.refer import parse_refer_to, parse_replaces
from gateway.protocol.sip.reliable import parse_rack
from gateway.protocol.sip.session_timer import parse_min_se, parse_session_expires
from gateway.protocol.sip.stun import binding_answer
from gateway.protocol.sip.target import parse_sip_server
from gateway.protocol.sip.text import parse_name_addr, parse_name_addrs, parse_uri, parse_via
from gateway.protocol.sip.uac import InviteSpec
from gateway.sip.wires import WebSocketWire
from tests.support.sip_lab import ANSWER, OFFER, UDP, credentials, protected, request_text, trusted

LOCAL: Final = LocalMedia("192.0.2.1", 20_000, 20_001)
BETWEEN: Final = b"\n==\n"
"""Parts the datagrams in an input of the target ``agent``."""
_ANSWER_LINE: Final = re.compile(rb"SIP/2.0 [1-6][0-9]{2} [^\r\n]*\r\n")
_UPGRADE: Final = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: sip\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_SPEC: Final = InviteSpec("sip:100@pbx.test", "<sip:gw@pbx.test>", OFFER, (), "gw")


def message(data: bytes) -> None:
    """Read a message, and write an answer to it that can be read."""
    try:
        found = parse_message(data)
    except RemoteProtocolError:
        return
    find_sdp(found.header("Content-Type") or "", found.body)
    if isinstance(found, IncomingRequest):
        written = to_bytes(make_response(486, found.headers, found.via, UDP, to_tag="ours"))
        again = parse_message(written)
        assert isinstance(again, IncomingResponse), written
        assert (again.call_id, again.cseq, again.from_.tag) == (found.call_id, found.cseq, found.from_.tag)


def headers(data: bytes) -> None:
    """Read header values."""
    text = data.decode("utf-8", "surrogateescape")
    for reader in (parse_name_addr, parse_uri, parse_via, parse_auth, parse_rack):
        with contextlib.suppress(RemoteProtocolError):
            reader(text)
    for many in (parse_refer_to, parse_replaces, parse_name_addrs):
        with contextlib.suppress(RemoteProtocolError):
            many([text])
    with contextlib.suppress(ConfigError):
        parse_sip_server(text)
    parse_session_expires(text)
    assert parse_min_se(text) >= 90
    parse_reason([text])


def _agent() -> Agent:
    tokens = (f"t{number:06d}" for number in itertools.count())
    return Agent(AgentSettings(), token=lambda: next(tokens), jitter=lambda: 0.5, secret=b"k" * 32)


def _drain(agent: Agent) -> list[bytes]:
    sent = []
    for output in agent.poll():
        if isinstance(output, Transmit):
            is_answer = output.data.startswith(b"SIP/2.0 ")
            assert not is_answer or output.flow.remote[0] == UDP.remote[0], "an answer to whom a message names"
            assert 0 < output.flow.remote[1] < 65_536
            sent.append(output.data)
    return sent


def agent(data: bytes) -> None:
    """Give datagrams to a core with a call that rings, one that is up and one that is dialled."""
    one = _agent()
    one.set_endpoint(trusted(1))
    one.set_endpoint(protected(2))
    now = 100.0
    one.invite(_SPEC, UDP, credentials("gw", "pw"), now)
    for number in (1, 2):
        text = request_text(body=OFFER, branch=f"z9hG4bKc{number}", call_id=f"c{number}", from_tag="f")
        one.receive(text.encode(), UDP, now)
        for output in one.poll():
            if isinstance(output, NewCall):
                output.session.ringing(now)
                if number == 2:
                    output.session.answer(ANSWER, now)
    _drain(one)
    for datagram in data.split(BETWEEN)[:6]:
        one.receive(datagram, UDP, now)
        for sent in _drain(one):
            assert _ANSWER_LINE.match(sent) or b" SIP/2.0\r\n" in sent, sent
        now += 0.3
    while (due := one.next_timeout()) is not None and due < now + 400:
        one.handle_timeout(max(due, now))
        _drain(one)
    one.receive(request_text("OPTIONS", branch="z9hG4bKlast", call_id="last").encode(), UDP, now + 400)
    assert any(b"Call-ID: last" in sent for sent in _drain(one))


def client(data: bytes) -> None:
    """Answer a dialled call with a status and any headers and body."""
    one, now = _agent(), 100.0
    session = one.invite(_SPEC, UDP, credentials("gw", "pw"), now)
    requests = _drain(one)
    for turn, piece in enumerate(data.split(BETWEEN)[:4]):
        invite = next((parse_message(sent) for sent in reversed(requests) if sent.startswith(b"INVITE")), None)
        if not isinstance(invite, IncomingRequest):
            break
        status = b"%03d" % (piece[0] * 3 % 600 + 100 if piece else 180)
        head = (
            f"Via: {invite.via.raw}\r\nFrom: {invite.from_.raw}\r\nTo: {invite.to.raw};tag=x\r\n"
            f"Call-ID: {invite.call_id}\r\nCSeq: {invite.cseq} INVITE\r\n"
        ).encode()
        one.receive(b"SIP/2.0 " + status + b" x\r\n" + head + piece[1:], UDP, now)
        requests = _drain(one) or requests
        if turn == 2:
            session.cancel(None, now)
            _drain(one)
        now += 0.1
    while (due := one.next_timeout()) is not None and due < now + 2000:
        one.handle_timeout(max(due, now))
        _drain(one)


def stream(data: bytes) -> None:
    """Cut a stream into messages, in one piece and byte by byte; and take it as a WebSocket."""

    def cut(step: int) -> tuple[list[bytes], bool]:
        framer = StreamFramer(max_message_bytes=2000, max_header_bytes=1000)
        found: list[bytes] = []
        try:
            for start in range(0, len(data), step):
                found += framer.feed(data[start : start + step])
        except RemoteProtocolError:
            return found, True
        return found, False

    whole, pieces = cut(max(1, len(data))), cut(1)
    assert whole[1] or pieces[1] or whole[0] == pieces[0]
    wire = WebSocketWire(2000)
    with contextlib.suppress(RemoteProtocolError):
        wire.feed(_UPGRADE + data)
        wire.output()


def digest(data: bytes) -> None:
    """Take a challenge, answer it, and check any credentials."""
    text = data.decode("utf-8", "surrogateescape")
    server = DigestServer(b"k" * 32, lambda: "salt", AuthLimits())
    with contextlib.suppress(RemoteProtocolError):
        verdict = server.check(
            parse_auth(text), method="INVITE", user="pbx", password="geheim", realm="r", algorithms=("MD5", "SHA-256"),
            source="192.0.2.20", now=10.0,
        )  # fmt: skip
        assert verdict is not Verdict.GOOD
    request = parse_message(request_text().encode())
    challenge = make_response(401, request.headers, request.via, UDP)
    challenge.headers.add("WWW-Authenticate", text)
    try:
        response = parse_message(to_bytes(challenge))
    except RemoteProtocolError:
        return
    assert isinstance(response, IncomingResponse)
    user = DigestClient("gw", "pw", lambda: "cn")
    if user.learn(response, set()):
        for name, value in user.headers("INVITE", "sip:x"):
            assert "\r" not in value
            assert "\n" not in value
            assert parse_auth(value)["username"] == "gw", name


def sdp(data: bytes) -> None:
    """Answer an offer with what can be read again, and take an answer."""
    text = data.decode("utf-8", "replace")
    with contextlib.suppress(RemoteProtocolError):
        answer, _ = SdpSession(1).answer_offer(text, LOCAL)
        assert len(parse_sdp(answer).media) == len(parse_sdp(text).media)
    for secure in (False, True):
        session = SdpSession(1, secure=secure, random_bits=lambda bits: (1 << bits) - 2)
        session.create_offer(LOCAL)
        with contextlib.suppress(RemoteProtocolError):
            session.accept_answer(text)


def media(data: bytes) -> None:
    """Read RTP, telephone events and key presses of INFO."""
    with contextlib.suppress(RemoteProtocolError):
        header = rtp.parse_header(data)
        receiver = EventReceiver()
        receiver.receive(header.ssrc, header.timestamp, header.marker, rtp.payload_of(data), 1.0)
        receiver.receive(header.ssrc, header.timestamp, False, rtp.payload_of(data), 1.1)
        receiver.expire(9.0)
    kind, _, body = data.partition(b"\n")
    parse_info(kind.decode("utf-8", "replace"), body)


def control(data: bytes) -> None:
    """Read RTCP."""
    with contextlib.suppress(RemoteProtocolError):
        for packet in rtcp.parse_compound(data):
            if not isinstance(packet, rtcp.OtherRtcp):
                assert rtcp.parse_compound(rtcp.build_packet(packet))


def stun(data: bytes) -> None:
    """Answer STUN on the SIP port."""
    for host in ("192.0.2.20", "2001:db8::1"):
        answer = binding_answer(data, (host, 5060))
        assert answer is None or answer[8:20] == data[8:20]


SINGLE: Final[dict[str, Callable[[bytes], None]]] = {
    one.__name__: one
    for one in (message, headers, agent, client, stream, digest, sdp, media, control, stun)
}  # fmt: skip


def every(data: bytes) -> None:
    """Let the first byte choose the target: all of them in one process, for a short run."""
    if data:
        list(SINGLE.values())[data[0] % len(SINGLE)](data[1:])


TARGETS: Final = {**SINGLE, "every": every}
