"""Where an account's Chrome is: from its configuration, from its helper, or started here."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from gateway.accounts.page_config import PageLinkConfig, PageLinkSettings
from gateway.browser import BrowserEndpoint, HelperClient, HelperError, HttpEndpoint, parse_browser_url, parse_http_url
from gateway.browser.endpoint import join_host_port
from gateway.browser.local_helper import LocalHelper
from gateway.webrtc.seam import local_addresses


@dataclass(frozen=True, slots=True)
class ChromePlace:
    """One Chrome and what is beside it.

    Attributes:
        endpoint: its debugging port or the relay before it.
        helper: the node helper beside it, if there is one.
        local_address: this machine's address towards it.
    """

    endpoint: BrowserEndpoint
    helper: HelperClient | None
    local_address: str

    @property
    def local_addresses(self) -> tuple[str, ...]:
        """Addresses for ICE to gather on; none: its own choice, which leaves loopback out.

        A Chrome behind a loopback address is on this machine, or on another one at the end of a tunnel.
        """
        if not ipaddress.ip_address(self.local_address).is_loopback:
            return ()
        return (*local_addresses(), self.local_address)

    def wasm_url(self, config: PageLinkConfig, own_host: str) -> str:
        """Return the base URL of the wasm server.

        Args:
            config: the account's page configuration; it may name a host.
            own_host: where this gateway's own wasm server listens; if on every address, the one towards Chrome is used.
        """
        everywhere = own_host in {"", "0.0.0.0", "::"}
        host = config.wasm_host or (self.local_address if everywhere else own_host)
        return f"http://{join_host_port(host, config.wasm_port)}"


async def find_chrome(config: PageLinkConfig, settings: PageLinkSettings, stack: AsyncExitStack) -> ChromePlace:
    """Say where Chrome is; start a helper with one where the configuration names neither.

    Args:
        config: the account's page configuration.
        settings: process settings.
        stack: ends what was started.

    Raises:
        ConfigError: a URL is wrong.
        Unavailable: the helper does not answer, or could not be started.
    """
    helper_endpoint = await _helper_endpoint(config, settings, stack)
    helper = HelperClient(helper_endpoint, settings=settings.browser.http) if helper_endpoint else None
    if config.chrome_url:
        endpoint = parse_browser_url(config.chrome_url)
    elif helper and helper_endpoint:
        endpoint = _relay(await helper.browser(), helper_endpoint)
    else:
        raise HelperError("Neither Chrome nor a node helper is configured, and none could be started")
    token = helper_endpoint.token if helper_endpoint else settings.helper_token
    endpoint = endpoint.with_default_token(token)
    return ChromePlace(endpoint, helper, local_address_towards(endpoint.host, endpoint.port))


async def _helper_endpoint(
    config: PageLinkConfig, settings: PageLinkSettings, stack: AsyncExitStack
) -> HttpEndpoint | None:
    url = config.helper_url or ("" if config.chrome_url else settings.local_helper_url)
    if url:
        return parse_http_url(url).with_default_token(settings.helper_token)
    if config.chrome_url:
        return None
    local = await stack.enter_async_context(LocalHelper(settings.local_helper(config.account_id)))
    return local.helper_endpoint


def _relay(browser: dict[str, object], helper: HttpEndpoint) -> BrowserEndpoint:
    """Chrome behind a helper: the helper's own host, and the port of its CDP relay."""
    cdp = browser.get("cdp")
    port = cdp.get("port") if isinstance(cdp, dict) else None
    if not isinstance(port, int):
        raise HelperError(f"The node helper at {helper} does not say where its CDP relay is; set chromeRemoteURL")
    # The helper itself says whether it speaks TLS: https in its URL may be a proxy's, which the relay is not behind.
    secure = isinstance(cdp, dict) and cdp.get("tls") is True
    return replace(helper, port=port, path="", secure=secure)


def local_address_towards(host: str, port: int) -> str:
    """Return this machine's address on the way to *host*; sends nothing.

    Falls back to loopback where the host cannot be resolved now: connecting to it will say why.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError:
        return "127.0.0.1"
