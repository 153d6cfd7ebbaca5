"""Checks of one account's configuration against the real things: helper, Chrome, assets, page, SIP."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from gateway.accounts.chrome_place import local_address_towards
from gateway.accounts.sip_side import endpoint_settings, stack_settings
from gateway.browser.allow import AllowList
from gateway.browser.assets import fetch_assets
from gateway.browser.cdp import CdpConnection, connect_cdp
from gateway.browser.discovery import PageInfo, chrome_version, list_pages
from gateway.browser.endpoint import BrowserEndpoint, HttpEndpoint, join_host_port, parse_browser_url, parse_http_url
from gateway.browser.helper import HelperClient
from gateway.browser.settings import BrowserSettings, HttpSettings
from gateway.config import Settings
from gateway.domain.bridge_config import BridgeConfig
from gateway.domain.errors import PonteError, Unavailable
from gateway.domain.states import PageState
from gateway.page import wire
from gateway.sip.stack import SipStack

_CLOCK_TOLERANCE_S = 5.0  # far above a slow network, far below what certificates and nonces forgive
_CHECK_TIMEOUT_S = 20.0
_CHROME_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_OPTIONS_TIMEOUT_S = 4.0  # three retransmissions by UDP (RFC 3261 timer E)

Work = Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Result:
    """One check.

    Attributes:
        check: what was checked; begins with the account's name where it is about one.
        ok: whether it is well.
        detail: what was found, or what is wrong.
        fix: the way to mend it; empty where it is well.
    """

    check: str
    ok: bool
    detail: str
    fix: str = ""


class AccountChecks:
    """The checks of one account; later ones use what earlier ones found.

    Args:
        settings: the process settings.
        config: what is checked.
        listener: checks the port for calls from the PBX; None looks whether it is free.
    """

    def __init__(self, settings: Settings, config: BridgeConfig, listener: Work | None = None) -> None:
        self._settings = settings
        self._config = config
        self._port = listener
        self._http = HttpSettings(
            allow=AllowList.parse(settings.allow_hosts),
            connect_timeout_s=settings.connect_timeout_s,
            timeout_s=settings.http_timeout_s,
            ca_file=str(settings.ca_file) if settings.ca_file is not None else None,
        )
        self._token = settings.helper_token.get_secret_value() if settings.helper_token is not None else None
        self._helper_url = config.node_remote_helper or ("" if config.chrome_remote_url else settings.local_helper_url)
        self._relay: BrowserEndpoint | None = None  # Chrome, as the helper says
        self._chrome: BrowserEndpoint | None = None  # Chrome, where it answered

    def all(self) -> list[tuple[str, str, Work]]:
        """Name, fix and work of each check, in the order of the audio's way; to be run in this order."""
        checks: list[tuple[str, str, Work]] = []
        own = not self._helper_url and not self._config.chrome_remote_url
        if own:
            checks.append(("chrome", "install nodejs and chromium, or set chromeRemoteURL", self._own_chrome))
        elif self._helper_url:
            checks.append(("helper", "start the node helper, and check nodeRemoteHelper and its token", self._helper))
        if not own:
            fix = "start Chrome with --remote-debugging-port, and check chromeRemoteURL"
            checks.append(("chrome", fix, self._chrome_reachable))
        fix = "start the wasm server (ponte serve does), and check wasmServerIP and wasmServerPort"
        checks.append(("assets", fix, self._assets))
        if not own:
            checks.append(("page", "open the page, log in by its QR code, and wait until it is READY", self._page))
        checks.append(("sip listener", "free the port, or change sipListenPort", self._listener))
        if self._config.sip_server:
            fix = "check sipServer, sipUser and sipPass, and that the server answers OPTIONS"
            checks.append(("sip server", fix, self._sip_server))
        return checks

    async def _own_chrome(self) -> str:
        node = shutil.which("node")
        names = (str(self._settings.local_chrome),) if self._settings.local_chrome else _CHROME_NAMES
        chrome = next((path for name in names if (path := shutil.which(name))), None)
        if node is None or chrome is None:
            raise Unavailable(f"{'Node.js' if node is None else 'Chrome'} is not installed here")
        return f"{node} and {chrome} are here; the gateway starts them itself, GET /call/bridge/status shows the page"

    async def _helper(self) -> str:
        endpoint = self._helper_endpoint()
        client = HelperClient(endpoint, settings=self._http)
        health = await client.health()
        if health.get("status") != "ok":
            raise Unavailable(f"the helper at {endpoint} reports: {health.get('detail') or health.get('chrome')}")
        if not self._config.chrome_remote_url:
            cdp = (await client.browser()).get("cdp") or {}
            # The helper says where it listens as seen from itself; from here its host is the one it answered on.
            self._relay = HttpEndpoint(endpoint.host, int(cdp["port"]), token=endpoint.token)
        return f"{endpoint}: Chrome is {health.get('chrome')}"

    def _helper_endpoint(self) -> HttpEndpoint:
        return parse_http_url(self._helper_url).with_default_token(self._token)

    async def _chrome_reachable(self) -> str:
        endpoint = self._relay
        if self._config.chrome_remote_url:
            token = self._helper_endpoint().token if self._helper_url else self._token
            endpoint = parse_browser_url(self._config.chrome_remote_url).with_default_token(token)
        if endpoint is None:
            raise Unavailable("not checked: the helper did not say where Chrome is")
        version = await chrome_version(endpoint, self._http)
        self._chrome = endpoint
        return f"{version.product} at {endpoint}"

    async def _assets(self) -> str:
        chrome = self._chrome
        here = local_address_towards(chrome.host, chrome.port) if chrome is not None else "127.0.0.1"
        host = self._config.wasm_server_ip or here
        base = f"http://{join_host_port(host.strip('[]'), self._config.wasm_server_port)}"
        assets = await fetch_assets(base, settings=self._http)
        return f"{base}: version {assets.version}, ABI {assets.abi}, wa-js {assets.wajs}, hashes right"

    async def _page(self) -> str:
        if self._chrome is None:
            raise Unavailable("not checked: Chrome is not reachable")
        origin = urlsplit(self._settings.page_url)
        pages = await list_pages(self._chrome, self._http)
        found = [page for page in pages if urlsplit(page.url)[:2] == origin[:2]]
        if not found:
            raise Unavailable(f"no page of {origin.netloc} is open; the gateway opens it while it runs")
        async with connect_cdp(self._chrome, BrowserSettings(http=self._http)) as connection:
            return await _probe(connection, found[0])

    async def _listener(self) -> str:
        port, host = self._config.sip_listen_port, self._settings.sip_host
        if not (self._config.sip_listen_user or self._config.sip_server):
            raise Unavailable("off: neither sipListenUser nor sipServer is set, so nobody may call")
        if self._port is not None:
            return await self._port()
        for kind, name in ((socket.SOCK_DGRAM, "UDP"), (socket.SOCK_STREAM, "TCP")):
            if not can_bind(host, port, kind):
                raise Unavailable(f"{name} port {port} of {host} is in use by another program")
        return f"UDP and TCP port {port} of {host} are free"

    async def _sip_server(self) -> str:
        settings = replace(endpoint_settings(self._config, self._settings), listen_port=None)
        stack = SipStack(stack_settings(self._settings, listen=False))
        await stack.start()
        try:
            endpoint = await stack.add_endpoint(settings, lambda invite: invite.reject(503))
            endpoint.set_available(False, "This is a check")  # a REGISTER would displace the gateway's own
            await endpoint.probe(_OPTIONS_TIMEOUT_S)
        finally:
            await stack.close()
        return f"{self._config.sip_server} answers OPTIONS"


async def check(name: str, fix: str, work: Work) -> Result:
    """Run one check; whatever goes wrong is its result."""
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT_S):
            return Result(name, True, await work())
    except TimeoutError:
        return Result(name, False, f"no answer within {_CHECK_TIMEOUT_S:g} s", fix)
    except (PonteError, OSError) as error:
        return Result(name, False, str(error), fix)
    except (KeyError, TypeError, ValueError) as error:
        return Result(name, False, f"an answer has an unknown form ({type(error).__name__})", fix)


async def _probe(connection: CdpConnection, page: PageInfo) -> str:
    attached = await connection.send("Target.attachToTarget", {"targetId": page.target_id, "flatten": True})
    expression = "(async () => ({now: Date.now(), probe: globalThis.__ponte ? await __ponte.probe() : null}))()"
    try:
        started_s = time.time()
        answer = await connection.send(
            "Runtime.evaluate",
            {"expression": expression, "awaitPromise": True, "returnByValue": True},
            session_id=str(attached["sessionId"]),
        )
        ended_s = time.time()
    finally:
        with contextlib.suppress(PonteError):
            await connection.send("Target.detachFromTarget", {"sessionId": attached["sessionId"]})
    value = answer.get("result", {}).get("value") or {}
    page_s = float(value.get("now", 0)) / 1000
    if not started_s - _CLOCK_TOLERANCE_S <= page_s <= ended_s + _CLOCK_TOLERANCE_S:
        raise Unavailable(
            f"the clock of Chrome's host is {page_s - started_s:+.0f} s off this machine's: set it by NTP"
        )
    probe = value.get("probe")
    if not isinstance(probe, dict):
        raise Unavailable("the page is open, but Ponte is not in it; the gateway puts it in while it runs")
    return page_line(probe)


def page_line(data: object) -> str:
    """Return what ``ponte doctor`` says of a page: its state, the versions, and each thing that it lacks.

    Args:
        data: the answer of the bundle's ``probe()``.

    Raises:
        Unavailable: the page is not READY; what works still and what to do stands in its detail.
        RemoteProtocolError: it is no probe.
    """
    probe = wire.parse_probe(data)
    versions = f"WhatsApp {probe.waVersion or 'unknown'}, wa-js {probe.wajsVersion or 'unknown'}, ABI {probe.abi}"
    found = sum(check.found for check in probe.checks)
    looked = f"{found} of {len(probe.checks)} things found"
    # What calls lack a page says itself, once somebody is logged in; what linking and names lack it does not.
    lacking = dict.fromkeys([*probe.missing, *(check.name for check in probe.checks if not check.found)])
    unsaid = [name for name in lacking if name not in probe.detail]
    lacks = f"; not found: {', '.join(unsaid)}" if unsaid else ""
    if probe.state is not PageState.READY:
        raise Unavailable(f"{probe.state.value}: {probe.detail or 'no detail'} ({versions}, {looked}{lacks})")
    return f"READY, {versions}, {looked}{lacks}"


def can_bind(host: str, port: int, kind: socket.SocketKind) -> bool:
    """Whether a port is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, kind) as probe:
        if kind == socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
