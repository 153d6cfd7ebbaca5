"""One account's WhatsApp session: its state with all that is known, its events, and what people do to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import structlog

from gateway.browser.errors import PageError
from gateway.domain.bridge_status import PartStatus
from gateway.domain.errors import PonteError
from gateway.domain.page_session import (
    LinkCodeChanged,
    Need,
    PageStateChanged,
    QrChanged,
    SeenBuild,
    SessionEvent,
    SessionStatus,
    TriedBuild,
)
from gateway.domain.states import PageState
from gateway.page.driver import PageDriver
from gateway.page.whatsapp import WhatsAppDriver

_OTHER_STATE: Final = frozenset({"not_at_login", "not_ready"})


class WrongPageState(PonteError):
    """What was asked for does not fit the page's state.

    Attributes:
        status: where the session is.
    """

    code = "wrong_page_state"
    http_status = 409

    def __init__(self, wanted: str, status: SessionStatus) -> None:
        detail = f": {status.detail}" if status.detail else ""
        super().__init__(f"{wanted}; it is {status.state.value}{detail}")
        self.status = status
        self.refused_in = status.state.value


class PageSession:
    """One account's session. It outlives the page links that serve it.

    Attributes:
        status: where the session is.
        qr: the text of the QR code, while there is one. A secret.
    """

    def __init__(self) -> None:
        self.status = SessionStatus(PageState.DETACHED, "the bridge is not enabled", datetime.now(UTC))
        self.qr: str | None = None
        self._driver: WhatsAppDriver | None = None
        self._page: PageDriver | None = None
        self._linked = False
        self._subscribers: dict[object, Callable[[SessionEvent], None]] = {}
        self._log = structlog.get_logger("ponte.session")

    def subscribe(self, on_event: Callable[[SessionEvent], None]) -> Callable[[], None]:
        """Have *on_event* called, synchronously, for each event from now on.

        Returns:
            What ends it.
        """
        key = object()
        self._subscribers[key] = on_event

        def unsubscribe() -> None:
            self._subscribers.pop(key, None)

        return unsubscribe

    # ---- what people do

    async def current_qr(self) -> str | None:
        """Return the text of the QR code; None while WhatsApp makes one.

        Raises:
            WrongPageState: the page is not at its login.
            PonteError: the page does not answer.
        """
        driver = self._at_login()
        with self._as_state("There is a code only while the page waits for its login"):
            self.on_qr(await driver.qr())
        return self.qr

    async def link_code(self, phone: str) -> str:
        """Return the code that a person types into the phone with that number.

        Args:
            phone: digits of an E.164 number without ``+``.

        Raises:
            WrongPageState: the page is not at its login.
            PonteError: WhatsApp gave none.
        """
        driver = self._at_login()
        with self._as_state("There is a code only while the page waits for its login"):
            return await driver.link_code(phone)

    async def logout(self) -> None:
        """Unlink the page from the phone.

        Raises:
            WrongPageState: no phone is linked.
            PonteError: WhatsApp did not do it.
        """
        driver = self._driver
        linked = driver is not None and driver.probe is not None and self.status.state is not PageState.LOGIN_REQUIRED
        if driver is None or not linked:
            raise WrongPageState("Only a linked page can be logged out", self.status)
        with self._as_state("Only a linked page can be logged out"):
            await driver.logout()
        self._linked = False

    async def takeover(self) -> None:
        """Use WhatsApp in this page, when another one took it.

        Raises:
            WrongPageState: no page did, as far as is known here.
            PonteError: WhatsApp did not do it.
        """
        if self._driver is None or self.status.state is not PageState.DEGRADED:
            raise WrongPageState("Only a page that another one displaced can be taken over", self.status)
        with self._as_state("Only a page that another one displaced can be taken over"):
            await self._driver.takeover()
        await self._driver.refresh()

    # ---- what the page link tells

    def use(self, driver: PageDriver | None) -> None:
        """Say who drives the page; None: nobody. Only WhatsApp's own driver can link and unlink it."""
        self._page = driver
        self._driver = driver if isinstance(driver, WhatsAppDriver) else None
        if driver is None:
            self.on_qr(None)

    def on_page(self, part: PartStatus) -> None:
        """Take the page's state, and what the driver knows beside it."""
        state, detail = PageState(part.state), part.detail
        if state is PageState.READY:
            self._linked = True
        elif state is PageState.LOGIN_REQUIRED and self._linked:
            detail = f"the phone unlinked this page; {detail}"
        driver = self._page
        probe = self._driver.probe if self._driver is not None else None
        now = datetime.now(UTC)
        before = self.status
        self.status = replace(
            before,
            state=state,
            detail=detail,
            since=before.since if state is before.state else now,
            number=(driver.own_number if driver is not None else None) or before.number,
            takes_calls=driver is not None and driver.can_take,
            places_calls=driver is not None and driver.can_place,
            whatsapp=probe.waVersion if probe is not None else before.whatsapp,
            wajs=probe.wajsVersion if probe is not None else before.wajs,
            needs=tuple(Need(one.name, one.found, one.use) for one in probe.checks) if probe else before.needs,
        )
        if (state, detail) != (before.state, before.detail):
            self._tell(PageStateChanged(self.status))

    def on_builds(self, worked: SeenBuild | None, tried: TriedBuild | None) -> None:
        """Take what is known of WhatsApp Web's builds."""
        self.status = replace(self.status, worked=worked, tried=tried)

    def on_qr(self, code: str | None) -> None:
        """Take the QR code."""
        if code != self.qr:
            self.qr = code
            self._tell(QrChanged(code))

    def on_link_code(self, code: str) -> None:
        """Take a new code for linking by phone number."""
        self._tell(LinkCodeChanged(code))

    @contextmanager
    def _as_state(self, wanted: str) -> Iterator[None]:
        """Say it as a wrong state where the page has left the one that was needed a moment ago."""
        try:
            yield
        except PageError as error:
            if error.page_code not in _OTHER_STATE:
                raise
            raise WrongPageState(wanted, self.status) from error

    def _at_login(self) -> WhatsAppDriver:
        if self._driver is None or self.status.state is not PageState.LOGIN_REQUIRED:
            raise WrongPageState("There is a code only while the page waits for its login", self.status)
        return self._driver

    def _tell(self, event: SessionEvent) -> None:
        for on_event in list(self._subscribers.values()):
            try:
                on_event(event)
            except Exception:
                # One listener's fault is not the page's, nor the others'.
                self._log.exception("session_listener_failed", event_type=type(event).__name__)
