"""One account: its configuration, its page, its SIP side, its call; each supervised, none able to take another down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Literal

import structlog

from gateway.accounts.audio_watch import watched_audio
from gateway.accounts.build_watch import Builds, NoBuilds
from gateway.accounts.call_book import CallBook, recording_of
from gateway.accounts.call_quality import metered, quality_of
from gateway.accounts.page_config import PageLinkConfig, PageLinkSettings
from gateway.accounts.page_link import Line, PageLink
from gateway.accounts.page_session import PageSession
from gateway.accounts.recording import recorded
from gateway.accounts.sip_side import with_instance
from gateway.bridge.call import Call, CallLimits, Parties
from gateway.bridge.call_media import CallMedia
from gateway.bridge.control import CallControl
from gateway.bridge.flows import click_to_call, sip_to_whatsapp, whatsapp_to_sip
from gateway.bridge.phones import click_to_phones, whatsapp_to_phones
from gateway.bridge.presentation import Presentation
from gateway.bridge.recording import RecordingRule
from gateway.bridge.sip_leg import refuse
from gateway.domain import termination as t
from gateway.domain.bridge_config import BridgeConfig
from gateway.domain.bridge_status import BridgeStatus, CallSummary, PartStatus
from gateway.domain.call_tones import CallTones
from gateway.domain.errors import ConfigError
from gateway.domain.ids import AccountId, CallId, new_call_id
from gateway.domain.offer import CallNotPossible, Offer, page_unavailable, parse_extension
from gateway.domain.page_session import QrChanged, SessionEvent
from gateway.domain.states import Direction, Origin, PageState
from gateway.domain.termination import Termination
from gateway.domain.trace import Trace
from gateway.events.hub import EventHub
from gateway.events.models import AccountStateChanged, Event, PageStateChanged, RegistrationStateChanged, SessionQr
from gateway.media.plane import MediaPlane
from gateway.page.driver import PageCall, Peer
from gateway.sip.call import IncomingInvite
from gateway.sip.endpoint import Endpoint
from gateway.sip.settings import EndpointSettings
from gateway.sip.stack import SipStack

_LAST_SOUND_S: Final = 0.6  # after a call: the page's meters still hold what it played last, which is no proof of sound

_DISABLED = PartStatus("disabled", "the bridge is not enabled")


@dataclass(frozen=True, slots=True)
class AccountContext:
    """What every account of a process shares.

    Attributes:
        sip: listeners and transports.
        media: the media plane.
        events: where events are published.
        book: where calls are written down.
        page: how pages are reached.
        builds: where it is kept which build of WhatsApp Web works.
        limits: the time-outs of calls.
        presentation: gives the rules of numbers and identities for a configuration.
        endpoint_settings: turns a configuration into the SIP side's settings.
        recording: how an account's calls are recorded; None: they cannot be.
        tones: what a phone that we rang hears while WhatsApp is dialled for it.
    """

    sip: SipStack
    media: MediaPlane
    events: EventHub
    book: CallBook
    page: PageLinkSettings
    limits: CallLimits
    presentation: Callable[[BridgeConfig], Presentation]
    endpoint_settings: Callable[[BridgeConfig], EndpointSettings]
    builds: Builds = field(default_factory=NoBuilds)
    recording: Callable[[AccountId], RecordingRule | None] = lambda account: None
    tones: CallTones = field(default_factory=CallTones)


class Account:
    """One account.

    `run` owns every task of it; `apply` changes what it does.

    Args:
        account_id: its id.
        context: what accounts share.
    """

    def __init__(self, account_id: AccountId, context: AccountContext) -> None:
        self.account_id = account_id
        self.session = PageSession()
        self.session.subscribe(self._on_session)
        self._context = context
        self._config = BridgeConfig()
        self._endpoint: Endpoint | None = None
        self._link: PageLink | None = None
        self._link_task: asyncio.Task[None] | None = None
        self._call: Call | None = None
        self._call_task: asyncio.Task[None] | None = None
        self._quiet_at_s = 0.0  # by the event loop's clock
        self._draining = False
        self._told: dict[str, Event] = {}  # the latest of each type
        self._group: asyncio.TaskGroup | None = None
        self._log = structlog.get_logger("ponte.account")

    @property
    def endpoint(self) -> Endpoint | None:
        """The SIP side, where the configuration wants one."""
        return self._endpoint

    @property
    def config(self) -> BridgeConfig:
        """The configuration in force."""
        return self._config

    @property
    def in_call(self) -> bool:
        """Whether a call is in progress, or is being closed."""
        return self._call is not None

    async def run(self, started: asyncio.Event) -> None:
        """Supervise the account until cancelled; run again, it takes up the configuration it had.

        Args:
            started: set once `apply` may be called.
        """
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                if started.is_set():
                    await self.apply(self._config)
                started.set()
                await asyncio.Event().wait()
        finally:
            self._group = self._link = self._link_task = None
            if self._endpoint is not None:
                await self._endpoint.close()
                self._endpoint = None

    async def apply(self, config: BridgeConfig) -> None:
        """Put *config* into force; a call in progress goes on.

        Raises:
            ConfigError: the listen port cannot be had; nothing changed.
        """
        await self._apply_sip(config)
        self._config = config
        if self._call is None:
            await self._apply_page()
        self._tell_sip()
        self._tell()

    async def drain(self) -> None:
        """Refuse new calls, and return when none is in progress; the caller sets the time limit."""
        self._draining = True
        self._tell_sip()
        self._tell()
        if self._call_task is not None:
            await asyncio.wait([self._call_task])

    async def end_call(self) -> None:
        """Refuse new calls and end the one in progress, while page and SIP side can still be told."""
        self._draining = True
        self._tell_sip()
        if (task := self._call_task) is not None:
            task.cancel()
            await asyncio.wait([task])

    def status(self) -> BridgeStatus:
        """Return the state of each part, and the call in progress."""
        link, endpoint = self._link, self._endpoint
        return BridgeStatus(
            # As the session tells it, which knows causes that one look at the page does not show.
            page=PartStatus(self.session.status.state.value, self.session.status.detail) if link else _DISABLED,
            media=link.media if link else _DISABLED,
            registration=(
                PartStatus(endpoint.registration.state, endpoint.registration.detail) if endpoint else _DISABLED
            ),
            listener=PartStatus(endpoint.listener.state, endpoint.listener.detail) if endpoint else _DISABLED,
            phones=_phones(endpoint) if endpoint else _DISABLED,
            calls=(_summary(self._call),) if self._call else (),
        )

    # ---- configuration

    async def _apply_sip(self, config: BridgeConfig) -> None:
        settings = self._context.endpoint_settings(config) if config.enabled else None
        settings = with_instance(settings, self.account_id) if settings is not None else None
        if settings is None:
            if self._endpoint is not None:
                await self._endpoint.close()
                self._endpoint = None
        elif self._endpoint is None:
            self._endpoint = await self._context.sip.add_endpoint(settings, self._on_invite)
            self._endpoint.on_status = self._tell
        else:
            await self._endpoint.update(settings)

    async def _apply_page(self) -> None:
        """Follow the configuration with the page; only between calls, since a call lives in its page."""
        config = self._config
        wanted = (
            PageLinkConfig(
                self.account_id,
                config.chrome_remote_url,
                config.node_remote_helper,
                config.wasm_server_ip,
                config.wasm_server_port,
            )
            if config.enabled
            else None
        )
        if self._link is not None and self._link.config == wanted:
            return
        if self._link_task is not None:
            self._link_task.cancel()
            await asyncio.wait([self._link_task])
            self._link = self._link_task = None
            self.session.on_page(PartStatus(PageState.DETACHED.value, _DISABLED.detail))
        if wanted is not None and self._group is not None:
            self._link = PageLink(
                wanted,
                self._context.page,
                side=self._context.media.page_side(),
                on_change=self._on_page,
                on_incoming=self._on_incoming,
                session=self.session,
                builds=self._context.builds,
                idle=lambda: self._call is None,
            )
            self._link_task = self._group.create_task(self._link.run())

    def _on_page(self) -> None:
        self._tell_sip()
        self._tell()

    def _on_session(self, event: SessionEvent) -> None:
        if isinstance(event, QrChanged) and event.code is not None:
            self._context.events.publish(self.account_id, SessionQr(code=event.code))

    def _tell(self) -> None:
        """Publish what changed of the account's parts."""
        status = self.status()
        bridge: Literal["enabled", "disabled", "draining"] = "enabled" if self._config.enabled else "disabled"
        for event in (
            AccountStateChanged(state="draining" if self._draining else bridge),
            PageStateChanged(state=status.page.state, detail=status.page.detail),
            RegistrationStateChanged(state=status.registration.state, detail=status.registration.detail),
        ):
            if self._told.get(event.type) != event:
                self._told[event.type] = event
                self._context.events.publish(self.account_id, event)

    def _tell_sip(self) -> None:
        """A path that is known to be dead is not offered (docs/ARCHITECTURE.md, section 4)."""
        if self._endpoint is None:
            return
        if self._draining:
            self._endpoint.set_available(False, "Ponte is stopping")
        elif self._call is None:
            link = self._link
            up = link is not None and link.line is not None and link.line.driver.can_place
            self._endpoint.set_available(up, "" if up or link is None else _why_down(link))

    # ---- calls

    @property
    def _in_call(self) -> bool:
        """Whether the line is taken. A call that is being closed or written down is not counted: the next one waits."""
        return self._call is not None and not self._call.ending

    def _line_taken(self, line: Line) -> bool:
        """Whether a call that is asked for now has to be refused; the page has its call a little longer than we."""
        return self._in_call or (self._call is None and line.driver.busy)

    def _on_invite(self, invite: IncomingInvite) -> None:
        line, endpoint = (self._link.line if self._link else None), self._endpoint
        number = self._context.presentation(self._config).numbers.dialled(invite.request_user)
        if self._draining:
            refuse(invite, t.SHUTDOWN)
        elif number is None:
            refuse(invite, t.NO_NUMBER)
        elif line is None or endpoint is None or not line.driver.can_place:
            refuse(invite, t.PAGE_UNAVAILABLE)
        elif self._line_taken(line):
            refuse(invite, t.LINE_BUSY)
        else:
            driver = line.driver
            self._start(
                Direction.SIP_TO_WHATSAPP,
                line,
                lambda call: sip_to_whatsapp(call, invite, driver, number, endpoint),
                Parties(Peer(number, None), invite.caller_user, invite.caller_name),
            )

    def _on_incoming(self, page: PageCall) -> None:
        line, endpoint, config = (self._link.line if self._link else None), self._endpoint, self._config
        phones = endpoint.phones if endpoint is not None and config.sip_server is None else []
        nobody = config.sip_server is None and not phones
        if line is None or endpoint is None or nobody or self._in_call or self._draining:
            # Left ringing: the account's own phone can still take it.
            self._log.info("incoming_call_left_alone", sip=endpoint is not None, busy=self._in_call)
            return
        if phones:
            self._start(
                Direction.WHATSAPP_TO_SIP,
                line,
                lambda call: whatsapp_to_phones(call, page, endpoint, phones),
                Parties(page.peer, endpoint.settings.listen_user),
            )
            return
        extension = config.sip_extension or (self._link.own_number if self._link else None) or config.sip_user or ""
        self._start(
            Direction.WHATSAPP_TO_SIP,
            line,
            lambda call: whatsapp_to_sip(call, page, endpoint, extension),
            Parties(page.peer, extension),
        )

    def offer(self, offer: Offer) -> CallSummary:
        """Ring a phone and then WhatsApp, as somebody asks for.

        Raises:
            CallNotPossible: not now; it says why.
            ConfigError: the phone is not one of the account's sipServer.
        """
        line, endpoint, config = (self._link.line if self._link else None), self._endpoint, self._config
        if self._draining:
            raise CallNotPossible("draining", "Ponte is stopping", "DRAINING", 30)
        if not config.enabled or endpoint is None:
            raise CallNotPossible("bridge_disabled", "The bridge is not enabled", "disabled")
        phones = endpoint.phones if config.sip_server is None else []
        extension = config.sip_listen_user or ""
        if config.sip_server is not None:
            wanted = offer.extension or config.sip_extension or config.sip_user or ""
            extension = parse_extension(wanted, config.sip_server)
            if not extension:
                raise ConfigError("is required, since the configuration has no sipExtension", "extension")
        elif not phones:
            raise CallNotPossible(
                "no_sip_server", "sipServer is not set and no phone is registered: there is none to ring", "disabled"
            )
        elif offer.extension:
            raise ConfigError("is for accounts with a sipServer; without, all registered phones ring", "extension")
        if line is None or not line.driver.can_place:
            raise page_unavailable(*((self._link.page, self._link.media) if self._link else (_DISABLED, _DISABLED)))
        if self._line_taken(line):
            state = self._call.state.value if self._call else "BUSY"
            raise CallNotPossible("line_busy", "The account is already in a call", state, 30)
        driver = line.driver
        call = self._start(
            Direction.SIP_TO_WHATSAPP,
            line,
            lambda call: (
                click_to_phones(call, endpoint, phones, driver, offer.number)
                if phones
                else click_to_call(call, extension, driver, offer.number, endpoint)
            ),
            Parties(Peer(offer.number, None), extension),
            call_id=offer.call_id,
            origin=Origin.API,
        )
        return _summary(call)

    def control(self, call_id: CallId) -> CallControl | None:
        """Return the handle of a call that is not wholly over, None where there is none of that id."""
        return self._call.control if self._call is not None and self._call.call_id == call_id else None

    def trace(self, call_id: CallId) -> Trace | None:
        """Return the time line of a call that is not wholly over, None where there is none of that id."""
        return self._call.trace.view() if self._call is not None and self._call.call_id == call_id else None

    def _start(
        self,
        direction: Direction,
        line: Line,
        flow: Callable[[Call], Awaitable[Termination]],
        parties: Parties,
        *,
        call_id: CallId | None = None,
        origin: Origin | None = None,
    ) -> Call:
        call_id = call_id or new_call_id()
        call = Call(
            call_id,
            self.account_id,
            direction,
            CallMedia(call_id, self._context.media, line.driver, line.side),
            self._context.limits,
            on_change=self._call_changed,
            parties=parties,
            presentation=self._context.presentation(self._config),
            origin=origin,
            recording=self._context.recording(self.account_id),
            on_recording=self._context.book.recording,
            tones=self._context.tones,
        )
        assert self._group is not None  # `run` came first: it is what attaches pages and takes calls
        self._call = call
        self._show_line(call)
        self._call_task = self._group.create_task(self._run_call(call, flow, self._call_task))
        return call

    def _call_changed(self, call: Call) -> None:
        self._show_line(call)
        self._context.book.changed(call)

    def _show_line(self, call: Call) -> None:
        """Tell those who watch the account; a call that was followed by another is of no interest any more."""
        if self._endpoint is not None and call is self._call:
            server = self._endpoint.settings.server
            self._endpoint.show_dialogs((call.presentation.line(call, server.domain if server else ""),))

    async def _run_call(
        self, call: Call, flow: Callable[[Call], Awaitable[Termination]], before: asyncio.Task[None] | None
    ) -> None:
        if before is not None:
            await asyncio.wait([before])
        try:
            self._context.book.begin(call)
            async with (
                watched_audio(call, self._context.book.one_way),
                metered(call),
                recorded(call),
                self._proving(call),
            ):
                await call.run(flow)
        finally:
            self._context.book.end(call)
            if self._call is call:
                self._call = self._call_task = None
                await self._apply_page()
                self._tell_sip()

    @asynccontextmanager
    async def _proving(self, call: Call) -> AsyncIterator[None]:
        """Prove that sound flows while it rings somewhere: nobody hears the page then."""
        link = self._link
        if link is None:
            yield
            return

        loop = asyncio.get_running_loop()

        async def prove() -> None:
            try:
                if (wait_s := self._quiet_at_s - loop.time()) > 0:
                    await asyncio.sleep(wait_s)
                await link.prove()
            finally:
                call.proven.set()

        call.proven.clear()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(prove())
            try:
                yield
            finally:
                task.cancel()
                self._quiet_at_s = loop.time() + _LAST_SOUND_S


def _phones(endpoint: Endpoint) -> PartStatus:
    phones = endpoint.phones
    if not phones:
        return PartStatus("none", "No phone is registered here")
    browsers = sum(phone.flow.is_websocket for phone in phones)
    return PartStatus("registered", f"{len(phones)} registered here, {browsers} of them by WebSocket")


def _why_down(link: PageLink) -> str:
    why = link.page.detail or link.media.detail
    return f"Not registered while no call could be taken: {why or 'the page is not ready'}"


def _summary(call: Call) -> CallSummary:
    control, transfer = call.control, call.control.transfer_state
    quality = quality_of(call)
    return CallSummary(
        call.call_id,
        call.direction,
        call.state,
        call.peer.phone or "",
        call.times.created,
        call.times.answered,
        ringing_at=call.times.ringing,
        origin=call.origin,
        peer_name=call.peer.name,
        sip_user=call.parties.sip_user or None,
        sip_name=call.parties.sip_name or None,
        held=control.held,
        muted=control.muted,
        transfer=(transfer.extension, transfer.state.value) if transfer else None,
        quality=quality.model_dump(mode="json") if quality is not None else None,
        path=call.path,
        recording=recording_of(call),
    )
