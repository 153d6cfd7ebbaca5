"""Dialogs (RFC 3261 section 12)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace

from sipmessage import Request

from gateway.domain.errors import RemoteProtocolError
from gateway.protocol.sip.flow import Flow, HostPort, bracketed, default_port, is_ip
from gateway.protocol.sip.message import IncomingRequest, IncomingResponse, new_request
from gateway.protocol.sip.text import WireUri, escape_user, parse_name_addr, parse_name_addrs, parse_uri

DialogKey = tuple[str, str, str]
MAX_ROUTES = 20


@dataclass(slots=True)
class Dialog:
    """The state of one dialog.

    Attributes:
        call_id: Call-ID.
        local_tag: our tag.
        remote_tag: the peer's.
        local: our From or To value, tag included.
        remote: the peer's, tag included.
        local_cseq: number of our last request.
        remote_cseq: number of the peer's last request, -1 before the first.
        route_set: Route values, in the order of our requests.
        remote_target: the peer's Contact URI.
        flow: how the peer was last reached.
    """

    call_id: str
    local_tag: str
    remote_tag: str
    local: str
    remote: str
    local_cseq: int
    remote_cseq: int
    route_set: tuple[str, ...]
    remote_target: str
    flow: Flow

    @property
    def key(self) -> DialogKey:
        """What identifies it among requests of the peer."""
        return (self.call_id, self.local_tag, self.remote_tag)

    def request(self, method: str, cseq: int | None = None) -> Request:
        """Build a request in the dialog (section 12.2.1.1); *cseq* is given for an ACK only."""
        if cseq is None:
            self.local_cseq += 1
            cseq = self.local_cseq
        routes = list(self.route_set)
        target = self.remote_target
        if routes and not _is_loose(routes[0]):
            # a strict router (RFC 2543) wants itself in the Request-URI and the target last
            first, *routes = routes
            target, routes = parse_name_addr(first).uri, [*routes, f"<{target}>"]
        request = new_request(method, parse_uri(target))
        headers = request.headers
        if routes:
            headers.setlist("Route", routes)
        headers.set("From", self.local)
        headers.set("To", self.remote)
        headers.set("Call-ID", self.call_id)
        headers.set("CSeq", f"{cseq} {method}")
        return request

    def next_flow(self) -> Flow:
        """Return the flow for the next request: to the first route, else to the peer's Contact."""
        uri = parse_name_addr(self.route_set[0]).uri if self.route_set else self.remote_target
        return flow_to_uri(parse_uri(uri), self.flow)

    def refresh_target(self, message: IncomingRequest | IncomingResponse, flow: Flow) -> None:
        """Take a new Contact (section 12.2) and the way that it came by."""
        if contact := contact_of(message):
            self.remote_target = contact
        self.flow = flow


def _is_loose(route: str) -> bool:
    return "lr" in parse_uri(parse_name_addr(route).uri).parameters


def contact_of(message: IncomingRequest | IncomingResponse) -> str:
    """Return the URI of the Contact, or an empty string when there is no usable one."""
    try:
        contacts = parse_name_addrs(message.headers.getlist("Contact"))
        if contacts and contacts[0].uri != "*" and parse_uri(contacts[0].uri).scheme != "tel":
            return contacts[0].uri
    except RemoteProtocolError:
        return ""
    return ""


def record_routes(message: IncomingRequest | IncomingResponse) -> tuple[str, ...]:
    """Return the Record-Route values in the order of the message.

    Raises:
        RemoteProtocolError: one is malformed or there are too many.
    """
    routes = parse_name_addrs(message.headers.getlist("Record-Route"), MAX_ROUTES)
    for route in routes:
        if parse_uri(route.uri).scheme == "tel":
            raise RemoteProtocolError("a Record-Route is no SIP URI")
    return tuple(route.raw for route in routes)


def flow_to_uri(uri: WireUri, base: Flow) -> Flow:
    """Return the flow to *uri*, starting from the flow by which we know the peer.

    A connection to the same host is used again, and a private address behind a public source (a phone behind
    NAT that writes its inner address) is not followed, nor is a name that cannot exist (RFC 7118 section 5).
    """
    transport = (uri.parameters.get("transport") or "").lower()
    if uri.scheme == "sips" and transport not in {"ws", "wss"}:
        transport = "tls"  # RFC 3261 section 26.2.2
    if transport not in {"udp", "tcp", "tls"}:
        transport = base.transport
    if base.is_websocket or uri.host.lower().endswith(".invalid"):
        return base
    remote: HostPort = (uri.host, uri.port or default_port(transport))
    if transport == base.transport:
        if remote == base.remote:
            return base
        if _is_behind_nat(uri.host, base.remote[0]):
            return base
        if base.reliable and uri.host.lower() in {base.remote[0], base.server_name}:
            return replace(base, fallback=remote)
    return Flow(transport, base.listener, base.local, remote)


def _is_behind_nat(host: str, source: str) -> bool:
    if not (is_ip(host) and is_ip(source)):
        return False
    return ipaddress.ip_address(host).is_private and not ipaddress.ip_address(source).is_private


def contact_uri(flow: Flow, user: str, *, secure: bool = False) -> str:
    """Return our Contact URI for a flow; *secure*: a SIPS URI, where the flow is over TLS."""
    host, port = flow.local
    at = f"{escape_user(user)}@" if user else ""
    # RFC 7118 section 5.4: "ws" stands for both kinds of WebSocket
    transport = "ws" if flow.is_websocket else flow.transport
    suffix = "" if transport == "udp" else f";transport={transport}"
    if secure and flow.transport in {"tls", "wss"}:
        return f"sips:{at}{bracketed(host)}:{port}" + (suffix if flow.is_websocket else "")
    return f"sip:{at}{bracketed(host)}:{port}{suffix}"
