"""What a registration has beside its binding: instance, flow, GRUU and routes (RFC 5626, 5627, 3327, 3608).

Over a connection the registration is made as RFC 5626 has it: the Contact carries our instance and ``reg-id``, so that
a registrar that knows of flows keeps one binding of ours however often the connection is made anew, and calls us by
that connection. Over UDP there is no flow to keep: ``reg-id`` is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.domain.errors import RemoteProtocolError
from gateway.protocol.sip.dialog import contact_uri
from gateway.protocol.sip.flow import Flow
from gateway.protocol.sip.message import IncomingResponse
from gateway.protocol.sip.text import NameAddr, parse_int, parse_name_addrs, parse_uri

_MOST_ROUTES: Final = 10
_LEAST_FLOW_TIMER_S: Final = 10  # a shorter one would be a stream of pings


@dataclass(frozen=True, slots=True)
class Granted:
    """What a registrar said beside the time that it granted.

    Attributes:
        gruu: a URI by which our peers reach this very account from anywhere; empty where there is none.
        routes: Route values of calls through the registrar's proxy, first hop first.
        outbound: whether the registrar calls us by the flow that we registered by.
        flow_timer_s: after how much silence it gives that flow up; None where it does not say.
    """

    gruu: str = ""
    routes: tuple[str, ...] = ()
    outbound: bool = False
    flow_timer_s: int | None = None


@dataclass(frozen=True, slots=True)
class Instance:
    """What tells this account's registrations from those of others with the same address of record.

    Attributes:
        urn: ``urn:uuid:…``, the same after a restart; empty: none is said.
        outbound: ask for RFC 5626 over connections.
        gruu: ask for a GRUU.
    """

    urn: str = ""
    outbound: bool = True
    gruu: bool = False

    def supported(self, flow: Flow) -> str:
        """Return the Supported header of a REGISTER."""
        tags = ["path"]
        if self.urn and self.gruu:
            tags.append("gruu")
        if self._keeps(flow):
            tags.append("outbound")
        return ", ".join(tags)

    def _keeps(self, flow: Flow) -> bool:
        return bool(self.urn) and self.outbound and flow.reliable

    def contact(self, flow: Flow, user: str, expires_s: int) -> str:
        """Return the Contact header of a REGISTER (RFC 5626 section 4.2.1)."""
        keeps = self._keeps(flow)
        instance = f';+sip.instance="<{self.urn}>"' if self.urn else ""
        return f"<{contact_uri(flow, user)}>{instance}{';reg-id=1' if keeps else ''};expires={expires_s}"

    def own(self, contacts: list[NameAddr], flow: Flow, user: str) -> NameAddr | None:
        """Return our Contact among those of a 200: by instance, else by address; None where it is not there."""
        for contact in contacts:
            if self.urn and (contact.params.get("+sip.instance") or "").strip("<>").lower() == self.urn.lower():
                return contact
        mine = parse_uri(contact_uri(flow, user))
        for contact in contacts:
            uri = parse_uri(contact.uri)
            if (uri.user, uri.host, uri.port) == (mine.user, mine.host, mine.port):
                return contact
        return None

    def binding(self, response: IncomingResponse, flow: Flow, user: str) -> Granted:
        """Read the 200 to a REGISTER; what is malformed counts as absent."""
        gruu = ""
        if self.gruu:
            gruu = _or_nothing(lambda: self._gruu(response, flow, user))
        requires = {tag.strip().lower() for value in response.headers.getlist("Require") for tag in value.split(",")}
        return Granted(gruu, _routes(response), self._keeps(flow) and "outbound" in requires, _flow_timer(response))

    def _gruu(self, response: IncomingResponse, flow: Flow, user: str) -> str:
        own = self.own(parse_name_addrs(response.headers.getlist("Contact")), flow, user)
        gruu = (own.params.get("pub-gruu") or "") if own else ""
        return gruu if gruu and parse_uri(gruu).scheme != "tel" else ""


def _or_nothing(read: Callable[[], str]) -> str:
    try:
        return read()
    except RemoteProtocolError:
        return ""


def _routes(response: IncomingResponse) -> tuple[str, ...]:
    """Return Service-Route (RFC 3608); none of it where one value is no loose route, which nothing could be sent by."""
    try:
        routes = parse_name_addrs(response.headers.getlist("Service-Route"), _MOST_ROUTES)
        loose = all("lr" in parse_uri(route.uri).parameters for route in routes)
    except RemoteProtocolError:
        return ()
    return tuple(route.raw for route in routes) if loose else ()


def _flow_timer(response: IncomingResponse) -> int | None:
    try:
        return max(parse_int(response.header("Flow-Timer") or "", "Flow-Timer"), _LEAST_FLOW_TIMER_S)
    except RemoteProtocolError:
        return None
