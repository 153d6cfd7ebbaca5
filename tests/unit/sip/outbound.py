"""An outbound call as far as most tests need it."""

from __future__ import annotations

from gateway.protocol.sip.events import Answered
from gateway.protocol.sip.message import IncomingRequest
from gateway.protocol.sip.uac import ClientSession, InviteSpec
from tests.support.sip_lab import ANSWER, OFFER, TCP, UDP, Lab, credentials, lab, request_text, response_text

CHALLENGE = 'WWW-Authenticate: Digest realm="pbx", nonce="n1", qop="auth,auth-int", algorithm=MD5'
SPEC = InviteSpec(
    "sip:100@pbx.test", '"Zoë" <sip:5511@pbx.test>', OFFER, [("P-Asserted-Identity", "<sip:5511@pbx.test>")], "gw"
)


def dialed(*, user: str = "gw", tcp: bool = False, jitter: float = 0.5) -> tuple[Lab, ClientSession, IncomingRequest]:
    one = lab(jitter=jitter)
    session = one.agent.invite(SPEC, TCP if tcp else UDP, credentials(user, "pw"), one.now)
    one.drain()
    return one, session, one.request()


def up(*, jitter: float = 0.5, **answer: object) -> tuple[Lab, ClientSession, IncomingRequest]:
    one, session, invite = dialed(jitter=jitter)
    one.feed(response_text(invite, 200, body=ANSWER, **answer))  # type: ignore[arg-type]
    assert one.events() == [Answered(ANSWER)]
    assert one.request().method == "ACK"
    return one, session, invite


def from_pbx(session: ClientSession, method: str, cseq: int = 10, body: str = "", tag: str = "pbx1") -> str:
    return request_text(
        method, uri="sip:gw@192.0.2.10:5080", branch=f"z9hG4bKp{cseq}", call_id=session.call_id, cseq=cseq,
        from_tag=tag, to_tag=session.dialog.local_tag if session._dialog else session._local_tag, body=body,
    )  # fmt: skip


def reinvited(one: Lab, session: ClientSession) -> IncomingRequest:
    session.reinvite(OFFER, one.now)
    one.drain()
    return one.request()
