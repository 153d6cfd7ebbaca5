"""The process's SIP user agent: it owns every port and runs the core."""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
import time
from collections.abc import Callable, Sequence

import structlog

from gateway.domain.errors import ConfigError, Unavailable
from gateway.protocol.sip.agent import Agent
from gateway.protocol.sip.digest import DigestClient
from gateway.protocol.sip.engine import (
    Acked,
    NewCall,
    Output,
    PhonesChanged,
    RegistrationChanged,
    ReinviteDone,
    ReplacingCall,
    SessionClosed,
    SessionEvent,
)
from gateway.protocol.sip.events import Reason
from gateway.protocol.sip.flow import Flow, Transmit
from gateway.protocol.sip.message_log import MessageLogs
from gateway.protocol.sip.registration import Registration
from gateway.protocol.sip.uac import InviteSpec
from gateway.protocol.sip.uas import ServerSession
from gateway.sip.call import IncomingInvite, OutgoingInvite, Replaced, SipCall
from gateway.sip.endpoint import Endpoint, ListenerStatus
from gateway.sip.port import LocalAddresses, PortUser, SipPort
from gateway.sip.settings import EndpointSettings, StackSettings
from gateway.sip.tasks import TaskOwner
from gateway.sip.tls import TlsContexts

_MOST_FAULTS = 64


def _token() -> str:
    return secrets.token_hex(12)


class SipStack:
    """All SIP of a process; accounts share its ports.

    Args:
        settings: timers and limits.
    """

    def __init__(self, settings: StackSettings | None = None) -> None:
        self.settings = settings or StackSettings()
        self.token = _token
        self.owner = TaskOwner()
        self.agent = Agent(
            self.settings.core, token=_token, jitter=random.random, secret=secrets.token_bytes(32)
        )  # fmt: skip
        self._loop: asyncio.AbstractEventLoop | None = None
        self._addresses = LocalAddresses(self.settings.local_address_s)
        self._tls = TlsContexts(self.settings.tls)
        self._ports: dict[int, SipPort] = {}
        self._shared: dict[str, SipPort] = {}
        self._faults: dict[Flow, str] = {}
        self._reapers: dict[int, asyncio.TimerHandle] = {}
        self._endpoints: dict[int, Endpoint] = {}
        self._calls: dict[int, SipCall] = {}
        self._messages = MessageLogs()
        self._waiting: dict[int, asyncio.Event] = {}
        self._ids = itertools.count(1)
        self._timer: asyncio.TimerHandle | None = None
        self._flushing = False
        self._change = asyncio.Lock()
        self._log = structlog.get_logger()

    # life

    async def start(self) -> None:
        """Bind the stack to the running loop and open the listeners that all accounts share.

        The other ports open with the endpoints that need them.

        Raises:
            PortInUse: a shared port is taken.
            ConfigError: a certificate or the address cannot be used.
        """
        self._loop = asyncio.get_running_loop()
        settings = self.settings
        if settings.tls.certificate or settings.tls.ca_file:
            self._tls.client()  # a wrong file is told now, not at the first call
        try:
            for transport, number in (("tls", settings.tls_port), ("ws", settings.ws_port), ("wss", settings.wss_port)):
                if number is not None:
                    port = self._shared[transport] = self._new_port("")
                    await port.open_listener(transport, settings.shared_host, number, f"sip_{transport}_port")
        except ConfigError:
            await self._close_shared()
            raise
        if settings.tls.certificate:
            self.owner.spawn(self._keep_certificate(), "sip certificate")

    async def _keep_certificate(self) -> None:
        while True:
            await asyncio.sleep(self.settings.certificate_check_s)
            try:
                if self._tls.refresh():
                    self._log.info("sip certificate loaded again")
            except ConfigError as error:
                self._log.error("sip certificate not loaded again", error=str(error))

    async def _close_shared(self) -> None:
        for port in self._shared.values():
            await port.close()
        self._shared.clear()

    def shared_numbers(self) -> dict[str, int]:
        """Return the port number of each listener that all accounts share, by transport."""
        return {transport: port.number for transport, port in self._shared.items()}

    def shared_keys(self) -> frozenset[int]:
        """Return the names of those listeners in flows."""
        return frozenset(port.key for port in self._shared.values())

    def fault(self, flow: Flow) -> str:
        """Return the sentence that says why a flow failed last, or an empty string."""
        return self._faults.get(flow, "")

    async def close(self) -> None:
        """Unregister, hang up, and close every port; waits no longer than the settings allow."""
        async with self._change:
            endpoints = list(self._endpoints.values())
            for endpoint in endpoints:
                self.agent.remove_endpoint(endpoint.id, self.now())
            self.flush()
            await asyncio.gather(*(endpoint.halt("Closed") for endpoint in endpoints))
            for endpoint in endpoints:
                self._drop(endpoint)
        calls = list(self._calls.values())
        try:
            async with asyncio.timeout(self.settings.close_timeout_s):
                await asyncio.gather(*(call.bye(Reason("Q.850", 16, "Shutdown")) for call in calls))
        except TimeoutError:
            self._log.warning("sip calls not ended in time", calls=len(self._calls))
        await self.owner.close()
        if self._timer is not None:
            self._timer.cancel()
        for handle in self._reapers.values():
            handle.cancel()
        for port in list(self._ports.values()):
            await port.close()
        self._ports.clear()
        await self._close_shared()

    def now(self) -> float:
        """Return monotonic seconds."""
        if self._loop is None:
            raise Unavailable("The SIP stack is not started")
        return self._loop.time()

    def soon(self, action: Callable[[], None]) -> None:
        """Call *action* in the next turn of the loop."""
        if self._loop is not None:
            self._loop.call_soon(action)

    # endpoints

    async def add_endpoint(self, settings: EndpointSettings, on_invite: Callable[[IncomingInvite], None]) -> Endpoint:
        """Start one account's SIP side.

        Args:
            settings: what to do.
            on_invite: told of each inbound call; it must not block.

        Raises:
            PortInUse: another program has the port.
            ConfigError: another account has the same port and listen user, or the address is not ours.
        """
        async with self._change:
            endpoint = Endpoint(self, next(self._ids), settings, on_invite)
            self._check_sharing(settings, None)
            port, listener = await self._open(settings)
            self._endpoints[endpoint.id] = endpoint
            endpoint.begin(port, listener)
            return endpoint

    async def check_endpoint(self, settings: EndpointSettings, replacing: Endpoint | None = None) -> None:
        """Try whether an endpoint could be started with *settings* now; nothing changes.

        Args:
            settings: what it would do.
            replacing: the account's present endpoint, whose port and user it may keep.

        Raises:
            PortInUse: another program has the port.
            ConfigError: another account has the same port and listen user, or the address is not ours.
        """
        async with self._change:
            self._check_sharing(settings, replacing)
            ours = {(port.number, port.host) for port in self._ports.values()}
            if not settings.takes_calls or not settings.listen_port:
                return
            if (settings.listen_port, settings.listen_host) not in ours:
                trial = self._new_port(settings.public_address)
                await trial.open(settings.listen_host, settings.listen_port)
                await trial.close()

    async def update_endpoint(self, endpoint: Endpoint, settings: EndpointSettings) -> None:
        """Change an endpoint; see `Endpoint.update`."""
        async with self._change:
            if settings == endpoint.settings:
                return
            self._check_sharing(settings, endpoint)
            old = endpoint.settings
            keeps_port = endpoint.port is not None and settings.takes_calls == old.takes_calls
            if settings.takes_calls and endpoint.port is not None:
                same_number = settings.listen_port in {old.listen_port, endpoint.port.number}
                keeps_port = keeps_port and same_number and settings.listen_host == old.listen_host
            if keeps_port and endpoint.port is not None:
                port, listener = endpoint.port, self._listener_status(settings, endpoint.port)
                port.public_address = settings.public_address or port.public_address
            else:
                port, listener = await self._open(settings)
            if port is endpoint.port and settings.registers_like(old):
                endpoint.take(settings, listener)
            else:
                # one address of record is first given up, then taken again: the other way round the registrar, which
                # sees two Call-IDs with the same Contact, could drop the new binding
                same_record = (old.server, old.user) == (settings.server, settings.user)
                await endpoint.halt("The configuration changed", wait=same_record)
                endpoint.settings = settings
                endpoint.begin(port, listener)
            if (old.listen_user, old.listen_secret) != (settings.listen_user, settings.listen_secret):
                self.agent.drop_watchers(endpoint.id, self.now())
                self.flush()
            self._reap_ports()
        endpoint.on_status()

    async def remove_endpoint(self, endpoint: Endpoint) -> None:
        """Drop an endpoint; see `Endpoint.close`."""
        async with self._change:
            self.agent.remove_endpoint(endpoint.id, self.now())
            self.flush()
            await endpoint.halt("Closed")
            self._drop(endpoint)
            self._reap_ports()

    def _drop(self, endpoint: Endpoint) -> None:
        self._endpoints.pop(endpoint.id, None)
        endpoint.unlisten("Closed")

    def _check_sharing(self, settings: EndpointSettings, but: Endpoint | None) -> None:
        """Refuse what could not be told apart on one port."""
        if not settings.takes_calls or not settings.listen_port:
            return
        for other in self._endpoints.values():
            theirs = other.settings
            if other is but or not theirs.takes_calls or other.port is None:
                continue
            if other.port.number != settings.listen_port or theirs.listen_user != settings.listen_user:
                continue
            if settings.listen_user:
                raise ConfigError(
                    "Another account uses the same sipListenPort with the same sipListenUser; choose another user",
                    "sipListenUser",
                )
            if settings.server and theirs.server and settings.server.host == theirs.server.host:
                raise ConfigError(
                    "Another account takes calls from the same sipServer on this port; set sipListenUser to tell "
                    "them apart", "sipListenUser",
                )  # fmt: skip

    async def _open(self, settings: EndpointSettings) -> tuple[SipPort, ListenerStatus]:
        """Return the port of an endpoint: the shared listener, or a free one of its own for what we send."""
        if settings.takes_calls and settings.listen_port:
            for port in self._ports.values():
                if port.number == settings.listen_port and port.host == settings.listen_host:
                    port.public_address = settings.public_address or port.public_address
                    return port, self._listener_status(settings, port)
        port = self._new_port(settings.public_address)
        if settings.takes_calls and settings.listen_port is not None:
            await port.open(settings.listen_host, settings.listen_port)
        else:
            await port.open("::", 0)
        self._ports[port.key] = port
        return port, self._listener_status(settings, port)

    def _new_port(self, public_address: str) -> SipPort:
        user = PortUser(self._on_message, self._on_flow_failed)
        port = SipPort(next(self._ids), user, self.settings, self._addresses, self.owner, self._tls)
        port.public_address = public_address
        port.numbers = self.shared_numbers()
        return port

    def shares_server(self, endpoint: Endpoint) -> bool:
        """Whether calls to *endpoint*, which has no listen user, could be meant for another account on its port."""
        mine = self.agent.endpoint(endpoint.id)
        return mine is not None and any(
            other is not endpoint
            and other.port is endpoint.port
            and (theirs := self.agent.endpoint(other.id)) is not None
            and not mine.sources.isdisjoint(theirs.sources)
            for other in self._endpoints.values()
        )

    def shares_user(self, endpoint: Endpoint) -> bool:
        """Whether another account has the listen user of *endpoint*, so that the shared listeners know neither."""
        user = endpoint.settings.listen_user
        return bool(user) and any(
            other is not endpoint and other.settings.takes_calls and other.settings.listen_user == user
            for other in self._endpoints.values()
        )

    @staticmethod
    def _listener_status(settings: EndpointSettings, port: SipPort) -> ListenerStatus:
        if settings.listen_port is None:
            return ListenerStatus("off", 0, "No sipListenPort")
        if not settings.takes_calls and settings.listen_user:
            return ListenerStatus("refused", 0, "sipListenUser has no sipListenSecret: anybody could call")
        if not settings.takes_calls:
            return ListenerStatus(
                "refused", 0, "Nobody could be let in: set sipListenUser and sipListenSecret, or sipServer"
            )
        who = "callers with the password" if settings.listen_user else "the addresses of sipServer only"
        return ListenerStatus("listening", port.number, f"Taking calls from {who}")

    def _reap_ports(self) -> None:
        """Close ports that nobody uses any more, after the last transactions had time to end."""
        used = {one.port.key for one in self._endpoints.values() if one.port is not None}
        used |= {call.listener for call in self._calls.values()}
        for key in self._ports:
            if key in used:
                if (handle := self._reapers.pop(key, None)) is not None:
                    handle.cancel()
            elif key not in self._reapers and self._loop is not None:
                self._reapers[key] = self._loop.call_later(self.settings.port_linger_s, self._reap, key)

    def _reap(self, key: int) -> None:
        self._reapers.pop(key, None)
        if (port := self._ports.pop(key, None)) is not None:
            self.owner.spawn(port.close(), "sip port close")

    # calls

    def new_outgoing(self, local_address: str) -> OutgoingInvite:
        """Make the shell of an outbound call."""
        return OutgoingInvite(
            self,
            max_events=self.settings.max_events,
            settle_s=self.settings.settle_s,
            call_id=self.token(),
            local_address=local_address,
        )

    def start_outgoing(
        self, call: OutgoingInvite, spec: InviteSpec, flow: Flow, auth: DigestClient, others: Sequence[Flow]
    ) -> None:
        """Send the INVITE of an outbound call, to the *others* when *flow* fails."""
        session = self.agent.invite(spec, flow, auth, self.now(), others)
        self._messages.open(call.sip_call_id, call.messages)
        call.started(session)
        self._calls[session.id] = call
        self.flush()

    # the core's inputs and outputs

    def _on_message(self, data: bytes, flow: Flow) -> None:
        self._messages.see(time.monotonic(), data, sent=False)
        try:
            self.agent.receive(data, flow, self.now())
        except Exception:
            # a fault of ours in one message must not stop the others
            self._log.exception("sip message failed")
        self.flush()

    def _on_flow_failed(self, flow: Flow, detail: str) -> None:
        if detail:
            self._log.warning("sip connection failed", transport=flow.transport, detail=detail)
        if len(self._faults) >= _MOST_FAULTS:
            self._faults.clear()
        self._faults[flow] = detail
        self.agent.flow_failed(flow, self.now(), detail)
        self.flush()

    def _on_timer(self) -> None:
        self._timer = None
        try:
            self.agent.handle_timeout(self.now())
        except Exception:
            self._log.exception("sip timer failed")
        self.flush()

    def flush(self) -> None:
        """Send and tell what the core has put out, then arm the timer."""
        if self._flushing:
            return  # called from a callback: the outer loop goes on
        self._flushing = True
        try:
            while outputs := self.agent.poll():
                for output in outputs:
                    try:
                        self._handle(output)
                    except Exception:
                        self._log.exception("sip output failed", output=type(output).__name__)
        finally:
            self._flushing = False
        self._arm()

    def _arm(self) -> None:
        due = self.agent.next_timeout()
        if self._timer is not None:
            if due is not None and self._timer.when() <= due:
                return  # fires early at worst, and arms again
            self._timer.cancel()
            self._timer = None
        if due is not None and self._loop is not None:
            self._timer = self._loop.call_at(due, self._on_timer)

    def _port(self, key: int) -> SipPort | None:
        return self._ports.get(key) or next((port for port in self._shared.values() if port.key == key), None)

    def _handle(self, output: Output) -> None:
        if isinstance(output, Transmit):
            if (port := self._port(output.flow.listener)) is not None:
                self._messages.see(time.monotonic(), output.data, sent=True)
                port.send(output.flow, output.data)
        elif isinstance(output, SessionEvent):
            if (call := self._calls.get(output.session.id)) is not None:
                call.deliver(output.event)
        elif isinstance(output, NewCall):
            self._on_new_call(output)
        elif isinstance(output, ReplacingCall):
            self._on_replacing_call(output)
        elif isinstance(output, Acked):
            if (call := self._calls.get(output.session.id)) is not None:
                call.deliver_ack(output.sdp)
        elif isinstance(output, ReinviteDone):
            if (call := self._calls.get(output.session.id)) is not None:
                call.deliver_reinvite(output.status, output.sdp)
        elif isinstance(output, SessionClosed):
            if (call := self._calls.pop(output.session.id, None)) is not None:
                self._messages.close(call.sip_call_id)
                call.deliver_close()
                self._reap_ports()
        elif isinstance(output, RegistrationChanged):
            self._on_registration(output.registration)
        elif isinstance(output, PhonesChanged) and (endpoint := self._endpoints.get(output.endpoint)) is not None:
            endpoint.on_status()

    def _incoming(self, session: ServerSession) -> IncomingInvite:
        call = IncomingInvite(self, session, max_events=self.settings.max_events, settle_s=self.settings.settle_s)
        self._messages.open(call.sip_call_id, call.messages)
        self._calls[session.id] = call
        return call

    def _on_replacing_call(self, output: ReplacingCall) -> None:
        call = self._incoming(output.session)
        if (replaced := self._calls.get(output.replaced.id)) is not None:
            replaced.deliver(Replaced(call))
        else:
            call.reject(481)

    def _on_new_call(self, output: NewCall) -> None:
        endpoint = self._endpoints.get(output.endpoint)
        call = self._incoming(output.session)
        if endpoint is None:
            call.reject(503, retry_after_s=self.settings.core.limits.retry_after_s)
            return
        try:
            endpoint.on_invite(call)
        except Exception:
            self._log.exception("sip call not taken")
            call.reject(500)

    def _on_registration(self, registration: Registration) -> None:
        status = registration.status
        self._log.info("sip registration", state=str(status.state), detail=status.detail, expires_s=status.expires_s)
        if (waiting := self._waiting.get(id(registration))) is not None:
            waiting.set()
        for endpoint in self._endpoints.values():
            if endpoint.owns(registration):
                endpoint.follow_registration()
                endpoint.on_status()

    async def wait_registration(self, registration: Registration, timeout_s: float) -> None:
        """Wait for the next change of a registration, at most *timeout_s*."""
        waiting = self._waiting[id(registration)] = asyncio.Event()
        try:
            async with asyncio.timeout(timeout_s):
                await waiting.wait()
        except TimeoutError:
            return
        finally:
            del self._waiting[id(registration)]
