"""A peer that breaks its messages in the middle of calls and registrations, and commands of ours in between."""

from __future__ import annotations

import contextlib
import random

import pytest

from gateway.domain.errors import LocalProtocolError
from gateway.protocol.sip.agent import AgentSettings
from gateway.protocol.sip.engine import CoreLimits, NewCall, ReplacingCall, SessionEvent
from gateway.protocol.sip.events import Reason, Refer, ReInvite
from gateway.protocol.sip.flow import Transmit
from gateway.protocol.sip.message import IncomingRequest, parse_message
from gateway.protocol.sip.registration import RegistrationConfig
from gateway.protocol.sip.session import Session
from gateway.protocol.sip.uac import ClientSession, InviteSpec
from gateway.protocol.sip.uas import ServerSession
from tests.support.sip_lab import (
    ANSWER,
    OFFER,
    TCP,
    UDP,
    Lab,
    credentials,
    lab,
    protected,
    request_text,
    response_text,
    trusted,
)
from tests.support.sip_mutate import mutated

pytestmark = pytest.mark.property

SPEC = InviteSpec("sip:100@pbx.test", "<sip:gw@pbx.test>", OFFER, (), "gw")
STATUSES = (100, 180, 183, 200, 200, 202, 302, 401, 407, 408, 422, 481, 486, 487, 491, 500, 503, 603)
METHODS = ("ACK", "BYE", "INVITE", "UPDATE", "INFO", "OPTIONS", "CANCEL", "REFER", "PRACK")
CHALLENGES = (
    'WWW-Authenticate: Digest realm="pbx", nonce="n1", qop="auth"',
    'Proxy-Authenticate: Digest realm="pbx", nonce="n2", algorithm=SHA-256, stale=true',
    "Min-Expires: 400",
    "Record-Route: <sip:192.0.2.30;lr>",
    "Retry-After: 1",
    "Require: 100rel",
    "RSeq: 1",
    "RSeq: 2",
    "Min-SE: 700",
    "Session-Expires: 120;refresher=uac",
    "Session-Expires: 120;refresher=uas",
    "Allow: UPDATE",
)
ASKED = (
    "Require: 100rel",
    "Supported: timer",
    "Session-Expires: 100;refresher=uac",
    "Session-Expires: 60",
    "Session-Expires: 300",
    "Allow: UPDATE, INVITE",
    "Refer-To: <sip:200@pbx.test>",
    "Refer-To: <sip:200@pbx.test?Replaces=a%3Bto-tag%3Db%3Bfrom-tag%3Dc>",
    "RAck: 1073741823 1 INVITE",
    "RAck: 536870912 1 INVITE",
    "Referred-By: x",
)


class Madness:
    """Feeds one lab at random; whatever happens, the core raises nothing and ends clean."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.breakage = self.rng.choice([0.0, 0.1, 0.4])
        self.lab: Lab = lab(AgentSettings(limits=CoreLimits(max_sessions=12, max_server_transactions=60)))
        self.lab.agent.set_endpoint(trusted(1))
        self.lab.agent.set_endpoint(protected(2))
        self.sessions: list[Session] = []
        self.asked: list[IncomingRequest] = []
        self.reinvites: list[tuple[Session, int]] = []
        self.refers: list[tuple[Session, int]] = []
        self.number = 0
        self.registration = self.lab.agent.registration(
            RegistrationConfig("sip:pbx.test", "sip:gw@pbx.test", "gw", retry_base_s=1), credentials("gw", "pw"),
            lambda attempt: self.rng.choice([UDP, TCP, None]),
        )  # fmt: skip

    def collect(self) -> None:
        for output in self.lab.agent.poll():
            if isinstance(output, Transmit):
                message = None
                with contextlib.suppress(Exception):  # answers echo the peer's faults
                    message = parse_message(output.data)
                if isinstance(message, IncomingRequest):
                    self.asked = [*self.asked[-30:], message]
            elif isinstance(output, NewCall | ReplacingCall):
                self.sessions = [*self.sessions[-30:], output.session]
            elif isinstance(output, SessionEvent) and isinstance(output.session, Session):
                if isinstance(output.event, ReInvite):
                    self.reinvites.append((output.session, output.event.request_id))
                elif isinstance(output.event, Refer):
                    self.refers.append((output.session, output.event.request_id))

    def peer(self) -> None:
        rng = self.rng
        self.number += 1
        if self.asked and rng.random() < 0.5:
            text = response_text(
                rng.choice(self.asked[-4:]), rng.choice(STATUSES), to_tag=rng.choice(["a", "b", ""]),
                body=rng.choice(["", ANSWER]), headers=rng.sample(CHALLENGES, rng.randint(0, 2)),
            )  # fmt: skip
        elif self.sessions and rng.random() < 0.8:
            session = rng.choice(self.sessions)
            dialog = session._dialog
            if dialog is None:
                return
            text = request_text(
                rng.choice(METHODS), branch=f"z9hG4bK{rng.randint(0, 40)}", call_id=dialog.call_id,
                from_tag=dialog.remote_tag, to_tag=dialog.local_tag,
                cseq=max(1, dialog.remote_cseq + rng.randint(-1, 2)), body=rng.choice(["", OFFER]),
                headers=rng.sample(ASKED, rng.randint(0, 3)),
            )  # fmt: skip
        else:
            headers = rng.sample(ASKED, rng.randint(0, 3))
            if self.sessions and rng.random() < 0.2 and (dialog := rng.choice(self.sessions)._dialog) is not None:
                headers.append(f"Replaces: {dialog.call_id};to-tag={dialog.local_tag};from-tag={dialog.remote_tag}")
            text = request_text(
                branch=f"z9hG4bKn{self.number}",
                call_id=f"c{self.number}",
                body=rng.choice(["", OFFER]),
                headers=headers,
            )
        data = text.encode("utf-8", "surrogateescape")
        if rng.random() < self.breakage:
            data = mutated(data, rng)
        self.lab.agent.receive(data, rng.choice([UDP, UDP, TCP]), self.lab.now)

    def owner(self) -> None:
        rng, now = self.rng, self.lab.now
        action = rng.randrange(9)
        session = rng.choice(self.sessions) if self.sessions else None
        with contextlib.suppress(LocalProtocolError):
            if action == 0:
                flow = rng.choice([UDP, TCP])
                call = self.lab.agent.invite(SPEC, flow, credentials("gw", "pw"), now)
                self.sessions = [*self.sessions[-30:], call]
            elif action == 1:
                self.lab.agent.flow_failed(rng.choice([UDP, TCP]), now)
            elif action == 2:
                (self.registration.start(now) if rng.random() < 0.7 else self.registration.stop(now, "x"))
            elif action == 3 and self.reinvites:
                changed, request_id = self.reinvites.pop()
                if rng.random() < 0.5:
                    changed.answer_reinvite(request_id, ANSWER, now)
                else:
                    changed.refuse_reinvite(request_id, 488, now)
            elif action == 3 and self.refers:
                changed, request_id = rng.choice(self.refers)
                changed.refer_progress(request_id, rng.choice([180, 183, 200, 486]), now)
            elif session is None:
                return
            elif action == 4:
                session.bye(Reason("Q.850", 16), now)
            elif action == 5:
                session.reinvite(OFFER, now, method=rng.choice(["INVITE", "UPDATE"]))
            elif isinstance(session, ClientSession):
                session.cancel(None, now)
            elif isinstance(session, ServerSession):
                self.serve(session, now)

    def serve(self, session: ServerSession, now: float) -> None:
        choice = self.rng.randrange(3)
        if choice == 0:
            session.ringing(now)
        elif choice == 1:
            session.answer(ANSWER, now)
        else:
            session.reject(486, None, None, now)

    def pass_time(self, seconds: float) -> None:
        end = self.lab.now + seconds
        while (due := self.lab.agent.next_timeout()) is not None and due <= end:
            self.lab.now = max(self.lab.now, due)
            self.lab.agent.handle_timeout(self.lab.now)
            self.collect()
        self.lab.now = end


@pytest.mark.parametrize("seed", range(8))
def test_the_core_survives_and_ends_clean(seed: int) -> None:
    mad = Madness(seed)
    for _ in range(1200):
        mad.peer() if mad.rng.random() < 0.7 else mad.owner()
        mad.collect()
        if mad.rng.random() < 0.3:
            mad.pass_time(mad.rng.choice([0.01, 0.01, 0.5, 3.0, 40.0]))
    mad.registration.stop(mad.lab.now, "over")
    for session in mad.sessions:
        now = mad.lab.now
        if isinstance(session, ClientSession):
            session.cancel(None, now)
        elif isinstance(session, ServerSession):
            with contextlib.suppress(LocalProtocolError):
                session.reject(480, None, None, now)
        session.bye(None, now)
    mad.collect()
    engine = mad.lab.agent._engine
    for session in [one for one in engine.sessions if isinstance(one, Session)]:  # those only the core knows
        session.bye(None, mad.lab.now)
        if isinstance(session, ServerSession):
            with contextlib.suppress(LocalProtocolError):
                session.reject(480, None, None, mad.lab.now)
        elif isinstance(session, ClientSession):
            session.cancel(None, mad.lab.now)
    mad.pass_time(400)
    assert engine.heap.next_timeout() is None
    assert not engine.layer.servers
    assert not engine.layer._merged
    assert not engine.dialogs
    assert not engine.layer.clients
    assert not engine.sessions
    assert mad.registration.idle
