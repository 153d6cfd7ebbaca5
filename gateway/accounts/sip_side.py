"""The process's and an account's configuration as the settings of the SIP side."""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path

from gateway.config import Settings
from gateway.domain.bridge_config import BridgeConfig
from gateway.domain.ids import AccountId
from gateway.protocol.sip.agent import AgentSettings
from gateway.protocol.sip.engine import CoreLimits
from gateway.protocol.sip.guard import Strangers
from gateway.protocol.sip.outbound import Instance
from gateway.protocol.sip.target import parse_sip_server
from gateway.sip.settings import EndpointSettings, StackSettings
from gateway.sip.tls import TlsSettings


def stack_settings(settings: Settings, *, listen: bool = True) -> StackSettings:
    """Return the settings of the SIP stack.

    Args:
        settings: the process's settings.
        listen: whether to open the listeners that all accounts share.
    """

    def text(path: Path | None) -> str:
        return str(path) if path is not None else ""

    return StackSettings(
        core=AgentSettings(
            strangers=Strangers(settings.sip_strangers),
            limits=CoreLimits(max_redirects=settings.sip_redirects, session_expires_s=settings.sip_session_expires_s),
        ),
        tls=TlsSettings(
            ca_file=text(settings.sip_ca_file),
            certificate=text(settings.sip_tls_certificate),
            key=text(settings.sip_tls_key),
            verify_clients=settings.sip_tls_verify_clients,
        ),
        shared_host=settings.sip_host,
        tls_port=settings.sip_tls_port if listen else None,
        ws_port=settings.sip_ws_port if listen else None,
        wss_port=settings.sip_wss_port if listen else None,
        websocket_path=settings.sip_ws_path,
        websocket_origins=settings.sip_ws_origins,
    )


def endpoint_settings(config: BridgeConfig, settings: Settings) -> EndpointSettings:
    """Return the SIP side's settings for one account.

    Without a listen user and without a server nobody could be let in: the endpoint then listens on nothing and says so.

    Args:
        config: the account's configuration.
        settings: the process's settings.

    Raises:
        ConfigError: sipServer cannot be used.
    """
    return EndpointSettings(
        server=parse_sip_server(config.sip_server) if config.sip_server else None,
        user=config.sip_user or "",
        password=config.sip_pass or "",
        listen_port=config.sip_listen_port,
        listen_host=settings.sip_host,
        listen_user=config.sip_listen_user or "",
        listen_secret=config.sip_listen_secret or "",
        algorithms=settings.sip_digest,
        public_address=settings.public_address,
        instance=Instance(outbound=settings.sip_outbound, gruu=settings.sip_gruu),
    )


def with_instance(settings: EndpointSettings, account_id: AccountId) -> EndpointSettings:
    """Return *settings* with the account's own URN (RFC 5626 section 4.1), the same after every restart."""
    urn = uuid.uuid5(uuid.NAMESPACE_OID, f"ponte:{account_id}").urn
    return replace(settings, instance=replace(settings.instance, urn=urn))
