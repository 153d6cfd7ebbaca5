"""One account's SIP side: its registration, its listener, its calls."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import structlog

from gateway.domain.errors import PeerTimeout, Refused, Unavailable
from gateway.protocol.sip.agent import CoreEndpoint
from gateway.protocol.sip.dialog_info import DialogView
from gateway.protocol.sip.digest import DigestClient
from gateway.protocol.sip.events import Caller
from gateway.protocol.sip.flow import Flow, bracketed
from gateway.protocol.sip.message import IncomingResponse
from gateway.protocol.sip.outbound import Granted
from gateway.protocol.sip.registrar import Binding
from gateway.protocol.sip.registration import (
    Registration,
    RegistrationConfig,
    RegistrationState,
    RegistrationStatus,
)
from gateway.protocol.sip.text import sip_uri
from gateway.protocol.sip.uac import InviteSpec
from gateway.sip.call import IncomingInvite, OutgoingInvite
from gateway.sip.port import SipPort
from gateway.sip.resolver import Target, resolve_server
from gateway.sip.settings import EndpointSettings
from gateway.sip.way_back import WayBack

if TYPE_CHECKING:
    from gateway.sip.stack import SipStack


@dataclass(frozen=True, slots=True)
class ListenerStatus:
    """Whether the PBX can call.

    Attributes:
        state: ``off``, ``listening`` or ``refused``.
        port: the port, 0 when not listening.
        detail: a sentence for people.
    """

    state: str
    port: int = 0
    detail: str = ""


class Endpoint:
    """One account's SIP side; made by `SipStack.add_endpoint`.

    Attributes:
        id: its name in the core.
        on_status: called when registration or listener changed.
    """

    def __init__(
        self, stack: SipStack, endpoint_id: int, settings: EndpointSettings, on_invite: Callable[[IncomingInvite], None]
    ) -> None:
        self.id = endpoint_id
        self.settings = settings
        self.on_invite = on_invite
        self.on_status: Callable[[], None] = lambda: None
        self._listener = ListenerStatus("off", 0, "Not started")
        self.port: SipPort | None = None
        self._stack = stack
        self._targets: list[Target] = []
        self._resolved = asyncio.Event()
        self._resolver: asyncio.Task[None] | None = None
        self._registration: Registration | None = None
        self._auth = DigestClient(settings.user, settings.password, stack.token)
        self._way_back = WayBack(stack.settings.udp_keep_alive_s)
        self._available = True
        self._unavailable_text = ""
        self._closed = False
        self._log = structlog.get_logger()

    # status

    @property
    def listener(self) -> ListenerStatus:
        """Whether the PBX can call."""
        if self._listener.state == "listening" and not self.settings.listen_user and self._stack.shares_server(self):
            return ListenerStatus(
                "refused",
                0,
                "Another account on this port has the same SIP server; set sipListenUser to tell them apart",
            )
        if self._listener.state == "listening" and (numbers := self._stack.shared_numbers()):
            ways = ", ".join(f"{transport.upper()} on port {number}" for transport, number in numbers.items())
            also = f"also by {ways}"
            if self._stack.shares_user(self):
                also = f"but not by {ways}: another account has the same sipListenUser"
            return replace(self._listener, detail=f"{self._listener.detail}; {also}")
        return self._listener

    def unlisten(self, detail: str) -> None:
        """Forget the port; the stack closes it when nobody needs it."""
        self._listener = ListenerStatus("off", 0, detail)
        self.port = None

    @property
    def registration(self) -> RegistrationStatus:
        """Where the registration is."""
        if self._registration is None:
            return RegistrationStatus(RegistrationState.DISABLED, "No sipUser and sipServer: nothing to register")
        return self._registration.status

    def owns(self, registration: Registration) -> bool:
        """Whether a registration is this endpoint's."""
        return self._registration is registration

    def set_available(self, available: bool, detail: str = "") -> None:
        """Say whether calls can be taken: if not, OPTIONS is answered 503 and the registration withdrawn."""
        if (available, detail) == (self._available, self._unavailable_text):
            return
        self._available, self._unavailable_text = available, detail
        self.publish()
        self._steer_registration()

    @property
    def _binding(self) -> Granted:
        """What the registrar said; nothing while we are not registered."""
        registration = self._registration
        return registration.binding if registration is not None and registration.bound is not None else Granted()

    def follow_registration(self) -> None:
        """Use what the registrar said last."""
        self.publish()
        registration, port = self._registration, self.port
        bound = registration.bound if registration is not None else None
        if port is None or registration is None or bound is None:
            self._way_back.keep(None)
            return
        port.keep_alive(bound, registration.binding.flow_timer_s)
        self._way_back.keep(partial(port.ping, bound.remote) if bound.transport == "udp" else None)

    def show_dialogs(self, dialogs: tuple[DialogView, ...]) -> None:
        """Tell those who watch the account which calls it has (RFC 4235)."""
        self._stack.agent.show_dialogs(self.id, dialogs, self._stack.now())
        self._stack.flush()

    def publish(self) -> None:
        """Tell the core about this endpoint."""
        settings = self.settings
        listening = self.port is not None and self._listener.state == "listening"
        self._stack.agent.set_endpoint(
            CoreEndpoint(
                self.id,
                self.port.key if self.port is not None and listening else 0,
                self._auth,
                contact_user=settings.contact,
                realm=settings.realm,
                listen_user=settings.listen_user,
                listen_secret=settings.listen_secret,
                algorithms=settings.algorithms,
                sources=frozenset(target.host for target in self._targets),
                available=self._available,
                unavailable_text=self._unavailable_text,
                shared=self._stack.shared_keys(),
                gruu=self._binding.gruu,
            )
        )

    def _steer_registration(self) -> None:
        registration = self._registration
        if registration is None or not self._resolved.is_set():
            return
        if self._available and not self._closed:
            registration.start(self._stack.now())
        elif registration.wanted or registration.status.state is RegistrationState.TRYING:
            registration.stop(self._stack.now(), self._unavailable_text or "Withdrawn")
        self._stack.flush()

    # life

    def begin(self, port: SipPort, listener: ListenerStatus) -> None:
        """Start on a port; the stack has opened it."""
        self.port = port
        self._listener = listener
        settings = self.settings
        self._auth = DigestClient(settings.user, settings.password, self._stack.token)
        self._targets = []
        self._resolved = asyncio.Event()
        if settings.server is not None:
            if settings.user:
                domain = settings.server.domain
                self._registration = self._stack.agent.registration(
                    RegistrationConfig(
                        sip_uri("", domain), sip_uri(settings.user, domain), settings.contact,
                        expires_s=settings.register_expires_s, retry_base_s=settings.register_retry_base_s,
                        retry_cap_s=settings.register_retry_cap_s, instance=settings.instance,
                    ),
                    self._auth,
                    self._flow,
                )  # fmt: skip
            if settings.server.is_ip:
                server = settings.server
                self._take_targets([Target(server.effective_transport, server.host, server.effective_port)])
            else:
                self._resolver = self._stack.owner.spawn(self._keep_resolved(), "sip resolve server")
        self.publish()

    def take(self, settings: EndpointSettings, listener: ListenerStatus) -> None:
        """Take settings that change only who may call."""
        self.settings = settings
        self._listener = listener
        self.publish()

    async def halt(self, detail: str, *, wait: bool = True) -> None:
        """Stop registering and looking up; calls in progress go on.

        Args:
            detail: said by the status from now on.
            wait: wait a little for the unregistration; else it goes on in the background.
        """
        if self._resolver is not None:
            self._resolver.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._resolver
            self._resolver = None
        self._way_back.keep(None)
        registration, self._registration = self._registration, None
        if registration is None:
            return
        registration.stop(self._stack.now(), detail)
        self._stack.flush()
        if wait:
            await self._unregistered(registration)
        else:
            self._stack.owner.spawn(self._unregistered(registration), "sip unregister")

    async def _unregistered(self, registration: Registration) -> None:
        deadline = self._stack.now() + self._stack.settings.close_timeout_s
        try:
            while not registration.idle and self._stack.now() < deadline:
                await self._stack.wait_registration(registration, deadline - self._stack.now())
        finally:
            self._stack.agent.forget_registration(registration)

    async def update(self, settings: EndpointSettings) -> None:
        """Change the settings at once; calls in progress go on.

        Raises:
            ConfigError: the port is taken or shared in a way that cannot work; nothing was changed.
        """
        await self._stack.update_endpoint(self, settings)

    async def close(self) -> None:
        """Unregister and take no more calls; calls in progress go on."""
        if not self._closed:
            self._closed = True
            await self._stack.remove_endpoint(self)

    async def _keep_resolved(self) -> None:
        server, limits = self.settings.server, self._stack.settings
        assert server is not None
        pause = limits.resolve_retry_base_s
        while True:
            try:
                targets = await resolve_server(server, timeout_s=limits.resolve_timeout_s)
            except Unavailable as error:
                self._log.warning("sip server not resolved", error=str(error))
                self._resolved.set()
                self._steer_registration()
                await asyncio.sleep(pause)
                pause = min(2 * pause, limits.resolve_retry_cap_s)
                continue
            pause = limits.resolve_retry_base_s
            self._take_targets(targets)
            await asyncio.sleep(limits.resolve_again_s)

    def _take_targets(self, targets: list[Target]) -> None:
        port = self.port
        if port is not None:
            targets = [one for one in targets if one.transport != "udp" or port.supports(one.host)]
        changed = targets != self._targets
        had_none = not self._targets
        self._targets = targets
        self._resolved.set()
        if changed:
            self.publish()
        # not at once: who has just made the endpoint may still say that it is unavailable
        self._stack.soon(self._steer_registration)
        if had_none and self._registration is not None and self._registration.status.state != "trying":
            self._registration.refresh(self._stack.now())
            self._stack.flush()

    # addresses

    def _flow(self, attempt: int = 0) -> Flow | None:
        """Return the flow to the n-th address of the server, or None when there is none."""
        port = self.port
        if port is None or not self._targets:
            return None
        if attempt == 0 and self._registration is not None and self._registration.bound is not None:
            return self._registration.bound  # the address that answers
        return self._flow_to(port, self._targets[attempt % len(self._targets)])

    def _flow_to(self, port: SipPort, target: Target) -> Flow | None:
        server = self.settings.server
        # RFC 5922 section 7.2: the certificate must name what was configured, not what DNS made of it
        name = server.host if server is not None and target.transport in {"tls", "ws", "wss"} else ""
        try:
            return port.flow_to(target.transport, (target.host, target.port), self._stack.now(), name)
        except Unavailable:
            return None

    def _other_flows(self, flow: Flow) -> list[Flow]:
        """Return the flows to the server's other addresses, in the order to try them."""
        if self.port is None:
            return []
        flows = [self._flow_to(self.port, target) for target in self._targets]
        others = [
            one for one in flows if one is not None and (one.transport, one.remote) != (flow.transport, flow.remote)
        ]
        return others[: self._stack.settings.max_failover]

    def local_address_for_server(self) -> str:
        """Return the IP address by which the server reaches us; for SDP.

        Raises:
            Unavailable: the server's address is not known or there is no route to it.
        """
        flow = self._flow()
        if flow is None:
            raise Unavailable("The SIP server's address is not known")
        return flow.local[0]

    async def _wait_flow(self) -> Flow:
        if self.settings.server is None:
            raise Unavailable("No sipServer is configured")
        flow = self._flow()
        if flow is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._stack.settings.resolve_timeout_s):
                    await self._resolved.wait()
            flow = self._flow()
        if flow is None:
            raise Unavailable("The SIP server's address is not known")
        return flow

    # calls

    def invite(
        self, *, user: str = "", sdp: str, caller: Caller, headers: Sequence[tuple[str, str]] = (), uri: str = ""
    ) -> OutgoingInvite:
        """Place a call through the server; what comes of it are the call's events.

        Args:
            user: user part of the Request-URI.
            sdp: the offer.
            caller: shown in From and P-Asserted-Identity.
            headers: more headers.
            uri: the whole Request-URI, as a REFER gave it. It goes to the server nevertheless, which routes it: nobody
                can make us call another host.
        """
        uri = uri or (sip_uri(user, self.settings.server.domain) if self.settings.server is not None else "")
        flow = self._flow()
        call = self._stack.new_outgoing(flow.local[0] if flow else "")
        if flow is not None:
            self._start(call, flow, uri, sdp, caller, headers)
        else:
            self._stack.owner.spawn(self._start_later(call, uri, sdp, caller, headers), "sip invite")
        return call

    async def _start_later(
        self, call: OutgoingInvite, uri: str, sdp: str, caller: Caller, headers: Sequence[tuple[str, str]]
    ) -> None:
        try:
            flow = await self._wait_flow()
        except Unavailable as error:
            call.failed_to_start(error)
            return
        except asyncio.CancelledError:
            call.failed_to_start(Unavailable("SIP is stopping"))
            raise
        if call.wanted:
            self._start(call, flow, uri, sdp, caller, headers)

    def _start(
        self, call: OutgoingInvite, flow: Flow, uri: str, sdp: str, caller: Caller, headers: Sequence[tuple[str, str]]
    ) -> None:
        settings = self.settings
        assert settings.server is not None
        domain = settings.server.domain
        from_, identity = caller.headers(settings.user or settings.contact, domain)
        spec = InviteSpec(
            uri, from_, sdp, [*identity, *headers], settings.contact, call.sip_call_id, self.id, self._binding
        )
        self._stack.start_outgoing(call, spec, flow, self._auth, self._other_flows(flow))

    @property
    def phones(self) -> list[Binding]:
        """The phones that are registered here."""
        return self._stack.agent.phones(self.id)

    def ring(
        self, phone: Binding, *, sdp: str, caller: Caller, headers: Sequence[tuple[str, str]] = ()
    ) -> OutgoingInvite:
        """Call a phone that is registered here, by the way that it registered by.

        Args:
            phone: the phone.
            sdp: the offer.
            caller: shown in From and P-Asserted-Identity.
            headers: more headers.
        """
        settings, local = self.settings, bracketed(phone.flow.local[0])
        from_, identity = caller.headers(settings.contact, local)
        call = self._stack.new_outgoing(phone.flow.local[0])
        spec = InviteSpec(phone.uri, from_, sdp, [*identity, *headers], settings.contact, call.sip_call_id, self.id)
        nobody = DigestClient("", "", self._stack.token)  # the server's password is not for phones
        self._stack.start_outgoing(call, spec, phone.flow, nobody, [])
        return call

    async def probe(self, timeout_s: float) -> None:
        """Ask the server by OPTIONS whether it is alive; any answer but 408, 503 and a refused password is one.

        Raises:
            Unavailable: its name has no address or it cannot be reached.
            PeerTimeout: it did not answer.
            Refused: it answered 503 or did not take our password.
        """
        flow = await self._wait_flow()
        assert self.settings.server is not None
        domain = self.settings.server.domain
        outcome: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()

        def done(response: IncomingResponse | None, cause: str, now: float) -> None:
            if not outcome.done():
                outcome.set_result((response.status if response else 0, cause))

        from_ = f"<{sip_uri(self.settings.user or self.settings.contact, domain)}>"
        self._stack.agent.options(sip_uri("", domain), from_, flow, self._auth, done, self._stack.now())
        self._stack.flush()
        try:
            async with asyncio.timeout(timeout_s):
                status, cause = await outcome
        except TimeoutError:
            raise PeerTimeout(f"The SIP server did not answer OPTIONS within {timeout_s:g} s") from None
        if cause == "transport":
            raise Unavailable(self._stack.fault(flow) or "The SIP server cannot be reached")
        if cause:
            raise PeerTimeout("The SIP server did not answer OPTIONS")
        if status in {401, 407, 408, 503}:
            raise Refused(f"The SIP server answered OPTIONS with {status}")
