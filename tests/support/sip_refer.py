"""A phone that transfers its call: our own user agent answers REFER and sends none, so a test has it sent here."""

from __future__ import annotations

from collections.abc import Callable

from sipmessage import Request

from gateway.protocol.sip.engine import AuthenticatedRequest, ignore_final
from gateway.protocol.sip.session import Session
from gateway.protocol.sip.transactions import ServerTransaction
from gateway.sip import SipCall


def core(call: SipCall) -> Session:
    """Return the core's side of a call."""
    assert call._session is not None
    return call._session


def replaces(call: SipCall) -> str:
    """Return the Replaces value by which another phone names the peer's side of *call*."""
    dialog = core(call).dialog
    return f"{dialog.call_id};to-tag={dialog.remote_tag};from-tag={dialog.local_tag}"


def send_refer(call: SipCall, refer_to: str) -> list[str]:
    """Send REFER in *call* and return the list in which the bodies of the NOTIFYs will be."""
    session = core(call)
    told: list[str] = []
    before: Callable[[ServerTransaction, float], None] = session.on_request

    def tapped(transaction: ServerTransaction, now: float) -> None:
        if transaction.request.method == "NOTIFY":
            told.append(transaction.request.body.decode().split(" ", 1)[1].strip())
            transaction.respond(session._response(transaction, 200), now)
        else:
            before(transaction, now)

    def make() -> Request:
        request = session.dialog.request("REFER")
        request.headers.set("Refer-To", refer_to)
        return request

    session.on_request = tapped  # type: ignore[method-assign]
    flow = session.dialog.next_flow()
    AuthenticatedRequest(session._engine, make, flow, session._auth, ignore_final).send(call._driver.now())
    call._driver.flush()
    return told
