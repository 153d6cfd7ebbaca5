"""A SIP core on a virtual clock: what it sends is caught, what it should receive is written as text."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gateway.protocol.sip.agent import Agent, AgentSettings, CoreEndpoint
from gateway.protocol.sip.digest import DigestClient, digest_response, parse_auth
from gateway.protocol.sip.engine import (
    Acked,
    NewCall,
    Output,
    RegistrationChanged,
    ReinviteDone,
    SessionClosed,
    SessionEvent,
)
from gateway.protocol.sip.events import SipEvent
from gateway.protocol.sip.flow import Flow, Transmit
from gateway.protocol.sip.message import IncomingRequest, IncomingResponse, parse_message
from gateway.protocol.sip.uas import ServerSession

OURS = ("192.0.2.10", 5080)
PBX = ("192.0.2.20", 5060)
STRANGER = ("203.0.113.66", 5060)
UDP = Flow("udp", 1, OURS, PBX)
TCP = Flow("tcp", 1, OURS, PBX)
OFFER = "v=0\r\no=- 1 1 IN IP4 192.0.2.20\r\ns=-\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
ANSWER = OFFER.replace("4000", "5000")

Message = IncomingRequest | IncomingResponse


def counter(prefix: str) -> Iterator[str]:
    """Endless unique text is all that a test needs of a token."""
    return (f"{prefix}{number:06d}" for number in itertools.count())


@dataclass
class Lab:
    """One agent, its clock, and what it put out."""

    agent: Agent
    now: float = 100.0
    sent: list[tuple[Flow, Message, bytes]] = field(default_factory=list)
    told: list[Output] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def drain(self) -> None:
        for output in self.agent.poll():
            if isinstance(output, Transmit):
                self.sent.append((output.flow, parse_message(output.data), output.data))
                self.times.append(self.now)
            else:
                self.told.append(output)

    def feed(self, message: str | bytes, flow: Flow = UDP) -> None:
        data = message if isinstance(message, bytes) else message.encode()
        self.agent.receive(data, flow, self.now)
        self.drain()

    def run(self, seconds: float) -> None:
        """Let time pass, firing each timer when it is due."""
        end = self.now + seconds
        while (due := self.agent.next_timeout()) is not None and due <= end:
            self.now = max(self.now, due)
            self.agent.handle_timeout(self.now)
            self.drain()
        self.now = end

    # what was sent

    def take(self) -> list[Message]:
        """Take what was sent since the last time."""
        messages = [message for _, message, _ in self.sent]
        self.sent.clear()
        return messages

    def one(self) -> Message:
        messages = self.take()
        assert len(messages) == 1, [describe(message) for message in messages]
        return messages[0]

    def request(self) -> IncomingRequest:
        message = self.one()
        assert isinstance(message, IncomingRequest)
        return message

    def response(self) -> IncomingResponse:
        message = self.one()
        assert isinstance(message, IncomingResponse)
        return message

    def statuses(self) -> list[str]:
        return [describe(message) for message in self.take()]

    # what was told

    def events(self) -> list[SipEvent]:
        """Take the call events since the last time."""
        events = [output.event for output in self.told if isinstance(output, SessionEvent)]
        self.told = [output for output in self.told if not isinstance(output, SessionEvent)]
        return events

    def new_call(self) -> ServerSession:
        calls = [output.session for output in self.told if isinstance(output, NewCall)]
        self.told = [output for output in self.told if not isinstance(output, NewCall)]
        assert len(calls) == 1
        return calls[0]

    def no_call(self) -> bool:
        return not any(isinstance(output, NewCall) for output in self.told)

    def acked(self) -> list[str | None]:
        return [output.sdp for output in self.told if isinstance(output, Acked)]

    def reinvited(self) -> list[tuple[int, str | None]]:
        return [(output.status, output.sdp) for output in self.told if isinstance(output, ReinviteDone)]

    def closed(self) -> int:
        return sum(isinstance(output, SessionClosed) for output in self.told)

    def registrations(self) -> int:
        return sum(isinstance(output, RegistrationChanged) for output in self.told)


def lab(settings: AgentSettings | None = None, *, jitter: float = 0.5, prefix: str = "t") -> Lab:
    """Make an agent with predictable tokens."""
    tokens = counter(prefix)
    agent = Agent(
        settings or AgentSettings(), token=lambda: next(tokens), jitter=lambda: jitter, secret=b"k" * 32
    )  # fmt: skip
    return Lab(agent)


def credentials(user: str = "", password: str = "") -> DigestClient:
    tokens = counter("c")
    return DigestClient(user, password, lambda: next(tokens))


def trusted(endpoint_id: int = 1, **changes: object) -> CoreEndpoint:
    """Give an endpoint that the PBX's address may call without a password."""
    values: dict[str, object] = {"sources": frozenset({PBX[0]}), "contact_user": "gw", **changes}
    return CoreEndpoint(endpoint_id, 1, credentials(), **values)  # type: ignore[arg-type]


def protected(endpoint_id: int = 1, **changes: object) -> CoreEndpoint:
    """Give an endpoint that wants a password."""
    values: dict[str, object] = {"listen_user": "pbx", "listen_secret": "geheim", **changes}
    return CoreEndpoint(endpoint_id, 1, credentials(), **values)  # type: ignore[arg-type]


def describe(message: Message) -> str:
    return message.method if isinstance(message, IncomingRequest) else f"{message.status} {message.method}"


def request_text(
    method: str = "INVITE", *, uri: str = "sip:5511999990000@192.0.2.10:5080", branch: str = "z9hG4bKa1",
    call_id: str = "call-1", from_tag: str = "ft1", to_tag: str = "", cseq: int = 1, body: str = "", via: str = "",
    headers: Sequence[str] = (), contact: str = "<sip:pbx@192.0.2.20:5060>", from_: str = "", kind: str = "",
) -> str:  # fmt: skip
    """Write a request as the PBX would send it."""
    lines = [
        f"{method} {uri} SIP/2.0",
        via or f"Via: SIP/2.0/UDP 192.0.2.20:5060;branch={branch};rport",
        "Max-Forwards: 70",
        f"From: {from_ or '<sip:1000@192.0.2.20>'};tag={from_tag}",
        f"To: <{uri}>" + (f";tag={to_tag}" if to_tag else ""),
        f"Call-ID: {call_id}",
        f"CSeq: {cseq} {method}",
        *([f"Contact: {contact}"] if contact else []),
        *headers,
        *([f"Content-Type: {kind or 'application/sdp'}"] if body else []),
        f"Content-Length: {len(body.encode())}",
    ]
    return "\r\n".join(lines) + "\r\n\r\n" + body


def response_text(
    request: IncomingRequest, status: int, *, to_tag: str = "pbx1", body: str = "", headers: Sequence[str] = (),
    contact: str = "<sip:1000@192.0.2.20:5060>", phrase: str = "Whatever",
) -> str:  # fmt: skip
    """Write the PBX's answer to a request of ours."""
    to = request.to.raw + (f";tag={to_tag}" if to_tag and not request.to.tag else "")
    lines = [
        f"SIP/2.0 {status} {phrase}",
        *[f"Via: {via}" for via in request.headers.getlist("Via")],
        f"From: {request.from_.raw}",
        f"To: {to}",
        f"Call-ID: {request.call_id}",
        f"CSeq: {request.cseq} {request.method}",
        *([f"Contact: {contact}"] if contact else []),
        *headers,
        *(["Content-Type: application/sdp"] if body else []),
        f"Content-Length: {len(body.encode())}",
    ]
    return "\r\n".join(lines) + "\r\n\r\n" + body


def authorization(
    challenge: str, *, user: str = "pbx", password: str = "geheim", method: str = "INVITE",
    uri: str = "sip:5511999990000@192.0.2.10:5080", nc: int = 1, cnonce: str = "cn", qop: str = "auth",
) -> str:  # fmt: skip
    """Answer one of our challenges, by hand so that it can be wrong on purpose."""
    params = parse_auth(challenge)
    response = digest_response(
        algorithm=params["algorithm"], user=user, realm=params["realm"], password=password, method=method, uri=uri,
        nonce=params["nonce"], nc=f"{nc:08x}" if qop else "", cnonce=cnonce if qop else "", qop=qop,
    )  # fmt: skip
    text = (
        f'Authorization: Digest username="{user}", realm="{params["realm"]}", nonce="{params["nonce"]}", '
        f'uri="{uri}", response="{response}", algorithm={params["algorithm"]}'
    )
    return text + (f', qop={qop}, nc={nc:08x}, cnonce="{cnonce}"' if qop else "")


@dataclass
class Network:
    """Two labs joined by a network that loses and delays; the seed makes a failure repeatable."""

    a: Lab
    b: Lab
    loss: float
    seed: int
    clock: float = 100.0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._wire: list[tuple[float, int, Lab, Flow, bytes]] = []
        self._number = 0

    def _collect(self, lab: Lab, other: Lab) -> None:
        lab.drain()
        for flow, _, data in lab.sent:
            if self._random.random() >= self.loss:
                back = Flow(flow.transport, 1, flow.remote, flow.local)
                delay = self._random.uniform(0.001, 0.12)  # packets overtake each other
                self._number += 1
                self._wire.append((self.clock + delay, self._number, other, back, data))
        lab.sent.clear()

    def run(self, seconds: float) -> None:
        end = self.clock + seconds
        while True:
            self._collect(self.a, self.b)
            self._collect(self.b, self.a)
            times = [entry[0] for entry in self._wire]
            times += [due for lab in (self.a, self.b) if (due := lab.agent.next_timeout()) is not None]
            if not times or min(times) > end:
                break
            self.clock = self.a.now = self.b.now = max(self.clock, min(times))
            arrived = sorted(entry for entry in self._wire if entry[0] <= self.clock)
            self._wire = [entry for entry in self._wire if entry[0] > self.clock]
            for _, _, lab, flow, data in arrived:
                lab.agent.receive(data, flow, self.clock)
            for lab in (self.a, self.b):
                lab.agent.handle_timeout(self.clock)
        self.clock = self.a.now = self.b.now = end
