"""An account's configuration as the settings of its SIP side."""

from __future__ import annotations

from gateway.config import Settings
from gateway.domain.bridge_config import BridgeConfig
from gateway.protocol.sip.target import parse_sip_server
from gateway.sip.settings import EndpointSettings


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
    )
