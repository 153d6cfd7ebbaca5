"""Settings of the SIP shell. The defaults that an operator may change live in gateway.config."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from gateway.protocol.sip.agent import AgentSettings
from gateway.protocol.sip.outbound import Instance
from gateway.protocol.sip.target import SipServer
from gateway.sip.tls import TlsSettings


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """One account's SIP side.

    Attributes:
        server: the PBX; None when the account only takes calls.
        user: for REGISTER and for answers to 401 and 407; empty: no registration.
        password: its secret.
        listen_port: UDP and TCP port for calls from the PBX; 0 takes a free one, None listens on none.
        listen_host: address to listen on; ``0.0.0.0`` or ``::`` (IPv6 and IPv4) or one of this machine's.
        listen_user: whom callers must be; empty: only the server's addresses may call.
        listen_secret: its secret.
        algorithms: digest algorithms offered to callers: ``MD5``, ``SHA-256``, ``SHA-512-256``. MD5 alone by default:
            kamailio 5.6 and baresip 1.0 (Debian 12) fail on a challenge that also offers SHA-256 instead of passing
            over it.
        realm: realm of our challenges.
        public_address: IP address for Via, Contact and SDP; empty: found per peer.
        contact_user: user part of Contact; empty: *user*, else *listen_user*.
        instance: what tells the account's registration from others of the same user.
        register_expires_s: seconds asked for in REGISTER.
        register_retry_base_s: pause after the first failed REGISTER; it doubles.
        register_retry_cap_s: longest pause.
    """

    server: SipServer | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    listen_port: int | None = 5080
    listen_host: str = "0.0.0.0"
    listen_user: str = ""
    listen_secret: str = field(default="", repr=False)
    algorithms: tuple[str, ...] = ("MD5",)
    realm: str = "ponte"
    public_address: str = ""
    contact_user: str = ""
    instance: Instance = field(default_factory=Instance)
    register_expires_s: int = 300
    register_retry_base_s: float = 2.0
    register_retry_cap_s: float = 120.0

    @property
    def contact(self) -> str:
        """The user part of Contact."""
        return self.contact_user or self.user or self.listen_user

    def registers_like(self, other: EndpointSettings) -> bool:
        """Whether a change from *other* leaves the registration and what is sent to the server as they are."""
        mine, theirs = (
            replace(
                one,
                contact_user=one.contact,
                listen_port=None,
                listen_user="",
                listen_secret="",
                realm="",
                algorithms=(),
            )
            for one in (self, other)
        )
        return mine == theirs

    @property
    def takes_calls(self) -> bool:
        """Whether anybody could be allowed to call; a listen user without a secret would let in everybody."""
        allowed = bool(self.listen_secret) if self.listen_user else self.server is not None
        return self.listen_port is not None and allowed


@dataclass(frozen=True, slots=True)
class StackSettings:
    """Settings shared by all accounts of a process.

    Attributes:
        core: timers and limits of the protocol core.
        tls: certificates and trust of TLS and secure WebSockets.
        shared_host: address of the listeners that all accounts share.
        tls_port: port of SIP over TLS; 0 takes a free one, None listens on none.
        ws_port: port of SIP over WebSocket without TLS, for behind a proxy that ends TLS.
        wss_port: port of SIP over WebSocket with TLS.
        certificate_check_s: how often the files of our certificate are looked at, so that a renewal needs no restart.
        websocket_path: path that WebSockets to a server are opened with.
        websocket_origins: origins of the web pages whose browsers may connect, as ``https://phone.example.com``; none:
            any.
        keep_alive_s: an idle connection to a server is pinged after it (RFC 5626 section 4.4.1), and a WebSocket of
            either side; below the 95 to 120 s of the RFC, since home routers forget sooner.
        udp_keep_alive_s: a line end goes to the registrar this often while an account is registered over UDP; 0: never.
            RFC 5626 section 4.4.2 has 24 to 29 s.
        pong_timeout_s: and a connection is closed when a peer that answers pings leaves one unanswered for this long.
        max_failover: other addresses of a server that an INVITE is tried at.
        max_connections: connections per listening port; further ones are closed.
        connection_idle_s: a connection that a peer opened is closed after this silence.
        partial_message_s: how long a message may take to arrive whole.
        connect_timeout_s: for an outgoing connection with its handshakes, and for the TLS handshake of one taken.
        spare_connect_timeout_s: the same where the message may go another way as well: long requests, which UDP can
            carry too. A firewall that drops TCP without a word delays a call by no more.
        max_unsent_bytes: a peer that reads slower than this is cut off.
        receive_buffer_bytes: asked of the kernel for each UDP socket.
        max_pending: messages that wait for a name or a connection, per flow.
        max_message_bytes: longest message in a stream.
        resolve_timeout_s: for one look-up of names.
        resolve_again_s: how often a name is looked up again.
        resolve_retry_base_s: pause after a failed look-up; it doubles.
        resolve_retry_cap_s: longest such pause.
        port_linger_s: how long a port that no account uses stays open for the ends of transactions.
        close_timeout_s: how long closing waits for unregistering and BYE.
        settle_s: how long `bye` and `cancel` wait for the peer; the transaction goes on without them.
        max_events: events of a call that wait to be taken.
        local_address_s: how long the local address towards a peer is remembered.
    """

    core: AgentSettings = field(default_factory=AgentSettings)
    tls: TlsSettings = field(default_factory=TlsSettings)
    shared_host: str = "0.0.0.0"
    tls_port: int | None = None
    ws_port: int | None = None
    wss_port: int | None = None
    certificate_check_s: float = 600.0
    websocket_path: str = "/ws"
    websocket_origins: tuple[str, ...] = ()
    keep_alive_s: float = 90.0
    udp_keep_alive_s: float = 25.0
    pong_timeout_s: float = 10.0
    max_failover: int = 3
    max_connections: int = 256
    connection_idle_s: float = 3600.0
    partial_message_s: float = 20.0
    connect_timeout_s: float = 5.0
    spare_connect_timeout_s: float = 1.0
    max_unsent_bytes: int = 1_048_576
    receive_buffer_bytes: int = 1_048_576
    max_pending: int = 64
    max_message_bytes: int = 65_535
    resolve_timeout_s: float = 5.0
    resolve_again_s: float = 300.0
    resolve_retry_base_s: float = 2.0
    resolve_retry_cap_s: float = 60.0
    port_linger_s: float = 5.0
    close_timeout_s: float = 3.0
    settle_s: float = 2.0
    max_events: int = 64
    local_address_s: float = 30.0
