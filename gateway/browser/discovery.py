"""Asks Chrome's HTTP side where its browser websocket is and which pages it has.

`pychrome` does it for a plain Chrome on this machine. It cannot do more: it sends no header (so no token to the node
helper's relay), knows http only, follows redirects (so an answer could lead a request out of the allow-list) and blocks
its thread. Every other endpoint, and a machine with a proxy in its environment (requests would use it even for
loopback), is asked by `gateway.browser.http`.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import pychrome
import requests

from gateway.browser.endpoint import BrowserEndpoint
from gateway.browser.errors import ChromeUnauthorized, ChromeUnreachable
from gateway.browser.http import Answer, Resolved, request, resolve
from gateway.browser.settings import HttpSettings

_BROWSER_PATH: Final = re.compile(r"/devtools/browser(/[0-9A-Za-z._-]{1,128})?")


@dataclass(frozen=True, slots=True)
class ChromeVersion:
    """What `/json/version` says.

    Attributes:
        product: for example ``Chrome/156.0.8078.79``.
        protocol: version of CDP.
        websocket_path: path of the browser websocket, good for this Chrome process only.
    """

    product: str
    protocol: str
    websocket_path: str


@dataclass(frozen=True, slots=True)
class PageInfo:
    """One page that Chrome has open.

    Attributes:
        target_id: CDP target id.
        url: its address.
        title: its title.
    """

    target_id: str
    url: str
    title: str


def _by_pychrome(target: Resolved) -> bool:
    endpoint = target.endpoint
    if endpoint.secure or endpoint.token or not target.address.is_loopback:
        return False
    return not requests.utils.get_environ_proxies(f"http://{target.netloc}")


async def _ask_pychrome(target: Resolved, path: str, settings: HttpSettings) -> Any:
    """Return the version object or the list of pages; None when the answer is not Chrome's."""
    browser = pychrome.Browser(url=f"http://{target.netloc}")

    def ask() -> Any:
        if path == "/json/version":
            version = browser.version(timeout=settings.timeout_s)
            # An error in JSON looks like an answer: pychrome does not look at the status.
            return version if "webSocketDebuggerUrl" in version else None
        # `_kwargs` is the entry of /json as Chrome gave it; a Tab shows nothing but its id.
        return [tab._kwargs for tab in browser.list_tab(timeout=settings.timeout_s)]

    try:
        async with asyncio.timeout(settings.timeout_s + settings.connect_timeout_s):
            return await asyncio.to_thread(ask)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


async def _ask(endpoint: BrowserEndpoint, path: str, settings: HttpSettings) -> Any:
    for target in await resolve(endpoint, settings):
        if not _by_pychrome(target):
            break
        try:
            found = await _ask_pychrome(target, path, settings)
        except (requests.RequestException, OSError):
            found = None
        if found:
            return found
        # pychrome does not say why: ask again below, where every failure has its own sentence.
    answer = await request(endpoint, "GET", path, settings=settings)
    return _chrome_json(endpoint, answer)


def _chrome_json(endpoint: BrowserEndpoint, answer: Answer) -> Any:
    if answer.status in {401, 403}:
        needs = "another token" if endpoint.token else "a token"
        raise ChromeUnauthorized(
            f"{endpoint} wants {needs} (HTTP {answer.status}); give it as ws://:TOKEN@{endpoint.netloc} "
            "or in PONTE_HELPER_TOKEN"
        )
    if answer.status in {502, 503, 504}:
        raise ChromeUnreachable(
            f"What stands before Chrome at {endpoint.netloc} answers, but Chrome behind it is not running yet "
            f"(HTTP {answer.status}); see its log if it stays so"
        )
    if answer.status == 500 and b"Host header" in answer.body:
        raise ChromeUnreachable(
            f"Chrome at {endpoint.netloc} refuses the name in {endpoint.setting}; give its IP address instead"
        )
    content = answer.json() if answer.status == 200 else None
    if content is None:
        raise ChromeUnreachable(
            f"{endpoint} answers HTTP {answer.status}, but is not Chrome's debugging port; check {endpoint.setting}"
        )
    return content


async def chrome_version(endpoint: BrowserEndpoint, settings: HttpSettings) -> ChromeVersion:
    """Ask `/json/version`.

    Raises:
        ChromeUnreachable: no answer, or not from a Chrome.
        ChromeUnauthorized: a token is missing or wrong.
        AddressNotAllowed: the allow-list does not have the address.
    """
    content = await _ask(endpoint, "/json/version", settings)
    path = urlsplit(str(content.get("webSocketDebuggerUrl", ""))).path if isinstance(content, dict) else ""
    if not _BROWSER_PATH.fullmatch(path):
        raise ChromeUnreachable(
            f"{endpoint} answers, but names no browser websocket, so it is not Chrome's debugging port; "
            f"check {endpoint.setting}"
        )
    return ChromeVersion(str(content.get("Browser", "")), str(content.get("Protocol-Version", "")), path)


async def list_pages(endpoint: BrowserEndpoint, settings: HttpSettings) -> list[PageInfo]:
    """List the pages that Chrome has open; its own windows, workers and extensions are left out.

    Raises:
        ChromeUnreachable: no answer, or not from a Chrome.
        ChromeUnauthorized: a token is missing or wrong.
        AddressNotAllowed: the allow-list does not have the address.
    """
    content = await _ask(endpoint, "/json/list", settings)
    entries = [entry for entry in content if isinstance(entry, dict)] if isinstance(content, list) else []
    return [
        PageInfo(str(entry.get("id", "")), str(entry.get("url", "")), str(entry.get("title", "")))
        for entry in entries
        if entry.get("type") == "page"
    ]
