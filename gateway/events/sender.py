"""Sends one webhook: name resolution, the check of the address, one bounded POST to that very address."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

import httpx2

from gateway.browser.allow import Address, AllowList, check_public_address, literal
from gateway.browser.errors import AddressNotAllowed
from gateway.domain.errors import ConfigError
from gateway.domain.hosts import check_host

_MAX_URL: Final = 2048
_MAX_ADDRESSES: Final = 4
_READ_BYTES: Final = 64 * 1024  # of an answer that nobody reads


class NotSent(Exception):
    """No HTTP answer came; the text says why."""


@dataclass(frozen=True, slots=True)
class SenderSettings:
    """How webhooks are sent.

    Attributes:
        allow: what may be sent to beside public addresses.
        timeout_s: for the whole exchange.
        ca_file: certificates to trust instead of the system's.
    """

    allow: AllowList = field(default_factory=AllowList)
    timeout_s: float = 15.0
    ca_file: str | None = None


def check_webhook_url(url: str, allow: AllowList) -> None:
    """Check a URL before it is stored; names are checked again, by address, each time something is sent.

    Raises:
        ConfigError: with ``field`` url.
    """
    try:
        if (
            len(url) > _MAX_URL
            or not url.isascii()
            or any(not character.isprintable() or character == " " for character in url)
        ):
            raise ValueError(f"must be a URL of at most {_MAX_URL} visible ASCII characters")
        parts = urlsplit(url)
        if parts.scheme not in {"https", "http"} or not parts.hostname:
            raise ValueError("must begin with https:// and a host")
        if parts.username is not None or parts.password is not None or parts.fragment:
            raise ValueError("must have neither user:password@ nor a fragment; verify the signature instead")
        host, port = check_host(parts.hostname), parts.port
        if port == 0:
            raise ValueError("must have a port from 1 to 65535")
        address = literal(host)
        if address is not None:
            check_public_address(address, allow, host=host, field="url")
        if parts.scheme == "http" and not _allowed(host, address, allow):
            raise ValueError("must be https; http is for hosts that the operator allows in PONTE_WEBHOOK_ALLOW_HOSTS")
    except ValueError as error:
        raise ConfigError(str(error), "url") from None


def _allowed(host: str, address: Address | None, allow: AllowList) -> bool:
    if host.lower().rstrip(".") in allow.hosts:
        return True
    return address is not None and any(address in one for one in allow.networks if one.version == address.version)


class Sender:
    """Sends webhooks.

    Args:
        settings: how.
    """

    def __init__(self, settings: SenderSettings) -> None:
        self._settings = settings
        self._tls = ssl.create_default_context(cafile=settings.ca_file)

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        """Send, and return the HTTP status. No proxy, no redirect; the answer's body is not kept.

        Raises:
            NotSent: no answer came, or it must not be sent there.
        """
        timeout_s = self._settings.timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                return await self._post(url, body, headers)
        except TimeoutError:
            raise NotSent(f"no answer within {timeout_s:g} s") from None
        except AddressNotAllowed as error:
            raise NotSent(str(error)) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ConfigError) as error:
            raise NotSent(_reason(error)) from None

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        check_webhook_url(url, self._settings.allow)
        parts = urlsplit(url)
        host = parts.hostname or ""
        address = await self._resolve(host, parts.port or (443 if parts.scheme == "https" else 80))
        shown = f"[{address}]" if address.version == 6 else str(address)
        there = parts._replace(netloc=shown if parts.port is None else f"{shown}:{parts.port}").geturl()
        extensions = {"sni_hostname": host} if parts.scheme == "https" and literal(host) is None else {}
        sent = {"Host": parts.netloc, "Accept-Encoding": "identity", **headers}
        async with (
            httpx2.AsyncClient(verify=self._tls, trust_env=False, timeout=self._settings.timeout_s) as client,
            client.stream("POST", there, headers=sent, content=body, extensions=extensions) as response,
        ):
            left = _READ_BYTES
            async for chunk in response.aiter_raw():
                left -= len(chunk)
                if left < 0:
                    break
            return int(response.status_code)

    async def _resolve(self, host: str, port: int) -> Address:
        fixed = literal(host)
        if fixed is not None:
            check_public_address(fixed, self._settings.allow, host=host)
            return fixed
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise NotSent("the host's name does not resolve") from None
        refused: AddressNotAllowed | None = None
        for entry in found[:_MAX_ADDRESSES]:
            address = ip_address(str(entry[4][0]).partition("%")[0])
            try:
                check_public_address(address, self._settings.allow, host=host)
            except AddressNotAllowed as error:
                refused = refused or error
            else:
                return address
        raise refused or NotSent("the host's name has no address")


def _reason(error: BaseException) -> str:
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and len(causes) < 8:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    if any(isinstance(one, ssl.SSLCertVerificationError) for one in causes):
        return "its certificate is not trusted"
    if any(isinstance(one, ssl.SSLError) for one in causes):
        return "it does not speak TLS there"
    if any(isinstance(one, ConnectionRefusedError) for one in causes) or "refused" in str(error).lower():
        return "connection refused"
    if any(isinstance(one, TimeoutError | httpx2.TimeoutException) for one in causes):
        return "no answer in time"
    if isinstance(error, ConfigError):
        return f"the URL {error}"
    if isinstance(error, httpx2.ConnectError):
        return "it cannot be reached"
    return "the connection was closed without an answer"
