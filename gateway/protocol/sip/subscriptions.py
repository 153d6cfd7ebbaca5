"""Subscriptions to an account's dialog state (RFC 6665, RFC 4235): we are the notifier.

Who may subscribe is checked before, as with a call, and as with a call not again in its dialog: a proxy that answers
our challenges for its phones seldom does so there. What was begun with a password ends with that password.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sipmessage import Request, Response

from gateway.domain.errors import RemoteProtocolError
from gateway.protocol.sip.dialog import Dialog, DialogKey, contact_of, contact_uri, record_routes
from gateway.protocol.sip.dialog_info import DIALOG_INFO, EVENT, DialogView, write_dialog_info
from gateway.protocol.sip.digest import DigestClient
from gateway.protocol.sip.engine import ALLOW, AuthenticatedRequest, Engine
from gateway.protocol.sip.message import IncomingRequest, IncomingResponse
from gateway.protocol.sip.text import is_token, parse_int, parse_params, split_list
from gateway.protocol.sip.timers import Timer
from gateway.protocol.sip.transactions import ServerTransaction

# RFC 6665 section 4.2.2 with RFC 5057 section 5.1: what says that the subscription is over, or never will work
_GONE: Final = frozenset({404, 405, 408, 410, 416, *range(480, 486), 489, 501, 604})


class Subscription:
    """One watcher. One NOTIFY is under way at a time; of what happens meanwhile the newest is told.

    Args:
        engine: the core's shared state.
        transaction: of the SUBSCRIBE.
        endpoint: id of the account.
        auth: our credentials for what the watcher's side asks of us.
        contact_user: user part of our Contact.
        event: value of our Event headers.

    Attributes:
        endpoint: id of the account.

    Raises:
        RemoteProtocolError: Contact or Record-Route is missing or malformed.
    """

    def __init__(
        self, engine: Engine, transaction: ServerTransaction, endpoint: int, auth: DigestClient, contact_user: str,
        event: str,
    ) -> None:  # fmt: skip
        request = transaction.request
        target = contact_of(request)
        if not target:
            raise RemoteProtocolError("Contact is missing or malformed")
        self.endpoint = endpoint
        self.over = False
        self._engine = engine
        self._auth = auth
        self._contact_user = contact_user
        self._event = event
        self._entity = request.to.uri.partition(";")[0]
        self._version = 0
        self._busy = False
        self._waiting = False
        self._dialogs: Sequence[DialogView] = ()
        self._ended = ""
        self._until = 0.0
        self._timer = Timer(0.0, self._expire)  # in no heap: there is always one to cancel
        self.dialog = Dialog(
            request.call_id, engine.token(), request.from_.tag, "", request.from_.raw, 0, request.cseq,
            record_routes(request), target, transaction.flow,
        )  # fmt: skip
        self.dialog.local = f"{request.to.raw};tag={self.dialog.local_tag}"

    def accept(self, transaction: ServerTransaction, expires_s: int, now: float) -> None:
        """Answer a SUBSCRIBE with 200; `show` has to follow (RFC 6665 section 4.2.1.2)."""
        request = transaction.request
        self.dialog.remote_cseq = request.cseq
        self.dialog.refresh_target(request, transaction.flow)
        response = transaction.make(200, to_tag=self.dialog.local_tag)
        self._describe(response)
        response.headers.set("Expires", str(expires_s))
        if routes := request.headers.getlist("Record-Route"):
            response.headers.setlist("Record-Route", list(routes))
        transaction.respond(response, now)
        self._timer.cancel()
        self._until = now + expires_s
        if expires_s:
            self._timer = self._engine.heap.at(self._until, self._expire)
        else:
            self._ended = "timeout"

    def show(self, dialogs: Sequence[DialogView], now: float) -> None:
        """Tell the account's state."""
        self._dialogs = dialogs
        if self._busy:
            self._waiting = True
        else:
            self._notify(now)

    def end(self, reason: str, now: float) -> None:
        """End it from our side; *reason* is one of RFC 6665 section 4.1.3, with its parameters."""
        self._timer.cancel()
        self._ended = reason
        self.show(self._dialogs, now)

    def _expire(self, now: float) -> None:
        self.end("timeout", now)

    def _describe(self, message: Request | Response) -> None:
        message.headers.set("Contact", f"<{contact_uri(self.dialog.flow, self._contact_user)}>")
        message.headers.set("Allow", ALLOW)
        message.headers.set("Allow-Events", EVENT)

    def _notify(self, now: float) -> None:
        self._busy, self._waiting = True, False
        if self._ended:
            self.over = True
            self._timer.cancel()
            state = f"terminated;reason={self._ended}"
        else:
            state = f"active;expires={max(1, round(self._until - now))}"
        version, self._version = self._version, self._version + 1
        body = write_dialog_info(self._entity, version, self._dialogs).encode()

        def make() -> Request:
            request = self.dialog.request("NOTIFY")
            self._describe(request)
            request.headers.set("Event", self._event)
            request.headers.set("Subscription-State", state)
            request.headers.set("Content-Type", DIALOG_INFO)
            request.body = body
            return request

        AuthenticatedRequest(self._engine, make, self.dialog.next_flow(), self._auth, self._sent).send(now)

    def _sent(self, response: IncomingResponse | None, cause: str, now: float) -> None:
        self._busy = False
        if response is None or response.status in _GONE:
            self.over = True
            self._timer.cancel()
        elif self._waiting and not self.over:
            self._notify(now)


class Subscriptions:
    """All watchers of a core.

    Args:
        engine: the core's shared state.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._live: dict[DialogKey, Subscription] = {}
        self._dialogs: dict[int, tuple[DialogView, ...]] = {}

    def __len__(self) -> int:
        self._forget()
        return len(self._live)

    def has(self, key: DialogKey) -> bool:
        """Return whether there is a subscription of that dialog."""
        self._forget()
        return key in self._live

    def _forget(self) -> None:
        for key in [key for key, one in self._live.items() if one.over]:
            del self._live[key]

    def show(self, endpoint: int, dialogs: tuple[DialogView, ...], now: float) -> None:
        """Tell the watchers of an account its calls, if they changed."""
        if self._dialogs.get(endpoint, ()) == dialogs:
            return
        self._dialogs[endpoint] = dialogs
        for one in self._of(endpoint):
            one.show(dialogs, now)

    def end(self, endpoint: int, now: float) -> None:
        """End the subscriptions to an account that is taken away or has another password; they may try again."""
        for one in self._of(endpoint):
            one.end(f"probation;retry-after={self._engine.limits.retry_after_s}", now)

    def forget(self, endpoint: int) -> None:
        """Drop what is known of an account."""
        self._dialogs.pop(endpoint, None)

    def _of(self, endpoint: int) -> list[Subscription]:
        self._forget()
        return [one for one in self._live.values() if one.endpoint == endpoint]

    def _refuse(
        self, transaction: ServerTransaction, status: int, header: tuple[str, str] | None, now: float
    ) -> None:  # fmt: skip
        extra = [header] if header else []
        transaction.respond(transaction.make(status, to_tag=self._engine.token(), extra=extra), now)

    def take(
        self, transaction: ServerTransaction, endpoint: int, auth: DigestClient, contact_user: str, now: float
    ) -> None:
        """Take a SUBSCRIBE outside a dialog, of somebody who may watch the account.

        Args:
            transaction: its transaction.
            endpoint: id of the account.
            auth: our credentials for what the watcher's side asks of us.
            contact_user: user part of our Contact.
            now: monotonic seconds.

        Raises:
            RemoteProtocolError: it is malformed; carries the status to answer with.
        """
        limits = self._engine.limits
        if (event := self._checked(transaction, now)) is None:
            return
        if len(self._of(endpoint)) >= limits.max_watchers or len(self._live) >= limits.max_subscriptions:
            self._refuse(transaction, 503, ("Retry-After", str(limits.retry_after_s)), now)
            return
        one = Subscription(self._engine, transaction, endpoint, auth, contact_user, event)
        self._live[one.dialog.key] = one
        self._accept(one, transaction, now)

    def refresh(self, transaction: ServerTransaction, now: float) -> None:
        """Take a SUBSCRIBE in the dialog of a subscription that there `has` to be.

        Raises:
            RemoteProtocolError: it is malformed; carries the status to answer with.
        """
        request = transaction.request
        one = self._live[request.call_id, request.to.tag, request.from_.tag]
        if request.cseq <= one.dialog.remote_cseq:
            self._refuse(transaction, 500, None, now)
        elif self._checked(transaction, now) is not None:
            self._accept(one, transaction, now)

    def _checked(self, transaction: ServerTransaction, now: float) -> str | None:
        """Return the Event value of a SUBSCRIBE that asks for what we have; else refuse it."""
        request, least = transaction.request, self._engine.limits.min_subscription_s
        event = _event(request)
        if event is None:
            self._refuse(transaction, 489, ("Allow-Events", EVENT), now)
        elif not _takes_dialog_info(request):
            self._refuse(transaction, 406, ("Accept", DIALOG_INFO), now)
        elif 0 < self._expires(request) < least:
            self._refuse(transaction, 423, ("Min-Expires", str(least)), now)
        else:
            return event
        return None

    def _expires(self, request: IncomingRequest) -> int:
        most = self._engine.limits.subscription_s
        return min(parse_int(request.header("Expires") or str(most), "Expires"), most)

    def _accept(self, one: Subscription, transaction: ServerTransaction, now: float) -> None:
        one.accept(transaction, self._expires(transaction.request), now)
        one.show(self._dialogs.get(one.endpoint, ()), now)


def _event(request: IncomingRequest) -> str | None:
    """Return the value of our Event headers: the package and the watcher's ``id`` (RFC 6665 section 8.2.1)."""
    package, *parts = split_list(request.header("Event") or "", ";")
    if package.strip().lower() != EVENT:
        return None
    number = parse_params(parts).get("id")
    return f"{EVENT};id={number}" if number and is_token(number) else EVENT


def _takes_dialog_info(request: IncomingRequest) -> bool:
    kinds = {value.partition(";")[0].strip().lower() for value in request.list_header("Accept")}
    return not kinds or bool(kinds & {DIALOG_INFO, "application/*", "*/*"})
