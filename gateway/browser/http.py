"""Name resolution, the allow-list and HTTP requests, so that a connection goes to the address that was checked."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

import httpx2

from gateway.browser.allow import Address, check_address, literal
from gateway.browser.endpoint import HttpEndpoint, join_host_port
from gateway.browser.errors import AddressNotAllowed, ChromeUnreachable
from gateway.browser.settings import HttpSettings

_MAX_ADDRESSES: Final = 4  # a name of a host has one or two


@dataclass(frozen=True, slots=True)
class Resolved:
    """An endpoint and the one checked address to connect to.

    Attributes:
        endpoint: what was asked for.
        address: where to connect.
    """

    endpoint: HttpEndpoint
    address: Address

    @property
    def netloc(self) -> str:
        """What goes into the URL and so into Host.

        Without TLS that is the address: Chrome answers a request whose Host is a name with an error (its guard against
        DNS rebinding). With TLS something stands before Chrome that wants its own name, for SNI and the certificate.
        """
        host = self.endpoint.host if self.endpoint.secure else str(self.address)
        return join_host_port(host, self.endpoint.port)

    @property
    def headers(self) -> dict[str, str]:
        """The Authorization header, where there is a token."""
        token = self.endpoint.token
        return {"Authorization": f"Bearer {token}"} if token else {}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, read whole.

    Attributes:
        status: HTTP status.
        body: content, at most the limit given.
        content_type: media type without parameters.
    """

    status: int
    body: bytes
    content_type: str

    def json(self) -> Any:
        """Return the body as JSON, or None when it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


async def resolve(endpoint: HttpEndpoint, settings: HttpSettings) -> list[Resolved]:
    """Resolve the endpoint's host to the addresses that the allow-list has, at least one, in the resolver's order.

    Raises:
        ChromeUnreachable: the name does not resolve.
        AddressNotAllowed: none of its addresses is allowed.
    """
    fixed = literal(endpoint.host)
    if fixed is not None:
        check_address(fixed, settings.allow, field=endpoint.setting)
        return [Resolved(endpoint, fixed)]
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(settings.connect_timeout_s):
            found = await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise ChromeUnreachable(
            f"The name {endpoint.host} was not resolved in {settings.connect_timeout_s:g} s; check the DNS server"
        ) from None
    except (OSError, UnicodeError):
        raise ChromeUnreachable(f"The name {endpoint.host} does not resolve; check {endpoint.setting}") from None
    refused: AddressNotAllowed | None = None
    allowed: list[Resolved] = []
    for entry in found[:_MAX_ADDRESSES]:
        address = ip_address(str(entry[4][0]).partition("%")[0])
        try:
            check_address(address, settings.allow, host=endpoint.host, field=endpoint.setting)
        except AddressNotAllowed as error:
            refused = refused or error
        else:
            allowed.append(Resolved(endpoint, address))
    if not allowed:
        raise refused or ChromeUnreachable(f"The name {endpoint.host} has no address; check {endpoint.setting}")
    return allowed


def tls_context(settings: HttpSettings) -> ssl.SSLContext:
    """Return the context for https and wss: the system's certificates, or the operator's."""
    return ssl.create_default_context(cafile=settings.ca_file)


async def request(
    endpoint: HttpEndpoint,
    method: str,
    path: str,
    *,
    settings: HttpSettings,
    body: dict[str, object] | None = None,
    timeout_s: float | None = None,
    max_body_bytes: int | None = None,
) -> Answer:
    """Make one HTTP request to an endpoint; no proxy, no redirects, a bounded answer.

    Args:
        endpoint: the server.
        method: HTTP method.
        path: absolute path after the endpoint's prefix.
        settings: time-outs, bounds and the allow-list.
        body: JSON object to send.
        timeout_s: for the whole request, instead of the settings' one.
        max_body_bytes: of the answer, instead of the settings' one.

    Raises:
        ChromeUnreachable: no HTTP answer came; the text says why and what to do.
        AddressNotAllowed: the allow-list does not have the address.
    """
    total_s = timeout_s or settings.timeout_s
    limit = max_body_bytes or settings.max_body_bytes
    targets = await resolve(endpoint, settings)
    for target in targets:
        try:
            return await _request(target, method, path, settings=settings, body=body, total_s=total_s, limit=limit)
        except (httpx2.HTTPError, OSError) as error:
            # "localhost" is ::1 first, where Chrome does not listen: only a connection that was made ends the search.
            if target is targets[-1] or not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
                raise ChromeUnreachable(_sentence(error, endpoint, total_s)) from None
    raise AssertionError("unreachable")


async def _request(
    target: Resolved,
    method: str,
    path: str,
    *,
    settings: HttpSettings,
    body: dict[str, object] | None,
    total_s: float,
    limit: int,
) -> Answer:
    endpoint = target.endpoint
    scheme = "https" if endpoint.secure else "http"
    url = f"{scheme}://{join_host_port(str(target.address), endpoint.port)}{endpoint.path}{path}"
    headers = {"Host": target.netloc, "Accept-Encoding": "identity", **target.headers}
    extensions = {"sni_hostname": endpoint.host} if endpoint.secure and endpoint.is_name else {}
    timeout = httpx2.Timeout(total_s, connect=min(settings.connect_timeout_s, total_s))
    verify = tls_context(settings) if endpoint.secure else False
    async with (
        asyncio.timeout(total_s + settings.connect_timeout_s),
        httpx2.AsyncClient(verify=verify, trust_env=False, timeout=timeout) as client,
        client.stream(method, url, headers=headers, json=body, extensions=extensions) as response,
    ):
        content = bytearray()
        async for chunk in response.aiter_raw():
            content += chunk
            if len(content) > limit:
                raise ChromeUnreachable(
                    f"{endpoint} answered {path} with more than {limit} bytes; check {endpoint.setting}"
                )
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        return Answer(response.status_code, bytes(content), media_type)


def _sentence(error: BaseException, endpoint: HttpEndpoint, timeout_s: float) -> str:
    """Say in one sentence why no answer came, and what to do."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and len(causes) < 8:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    check = f"check {endpoint.setting}"
    if any(isinstance(item, ssl.SSLCertVerificationError) for item in causes):
        return f"{endpoint} has a certificate that is not trusted; {check} or give its authority in PONTE_CA_FILE"
    if any(isinstance(item, ssl.SSLError) for item in causes):
        return f"{endpoint} does not speak TLS; use ws:// or http:// for it, or {check}"
    if any(isinstance(item, ConnectionRefusedError) for item in causes) or "refused" in str(error).lower():
        return f"Nothing listens at {endpoint.netloc} (connection refused); start it there, or {check}"
    if any(isinstance(item, TimeoutError | httpx2.TimeoutException) for item in causes):
        return f"{endpoint.netloc} did not answer within {timeout_s:g} s; see whether it runs and a firewall is between"
    if isinstance(error, httpx2.ConnectError):
        return f"{endpoint.netloc} is not reachable; see whether that host is up, or {check}"
    return f"{endpoint.netloc} closed the connection without an HTTP answer; {check}: it may be another service"
