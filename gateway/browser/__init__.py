"""Chrome over CDP: connection, target discovery, injection, the node helper's client (docs/ARCHITECTURE.md 8.4)."""

from gateway.browser.allow import AllowList
from gateway.browser.assets import PAGE_ABI, Assets, fetch_assets
from gateway.browser.browser import Browser, BrowserStatus
from gateway.browser.cdp import CdpConnection, connect_cdp
from gateway.browser.discovery import ChromeVersion, PageInfo, chrome_version, list_pages
from gateway.browser.endpoint import BrowserEndpoint, HttpEndpoint, check_literal, parse_browser_url, parse_http_url
from gateway.browser.errors import (
    AddressNotAllowed,
    AssetError,
    CdpError,
    ChromeUnauthorized,
    ChromeUnreachable,
    ConnectionLost,
    HelperError,
    PageError,
    PageGone,
    PageOwned,
)
from gateway.browser.helper import HelperClient
from gateway.browser.local_helper import LocalHelper, LocalHelperSettings
from gateway.browser.opening import open_page, throwaway_page
from gateway.browser.ownership import Claim
from gateway.browser.page import PageTarget
from gateway.browser.settings import BrowserSettings, HttpSettings

__all__ = [
    "PAGE_ABI",
    "AddressNotAllowed",
    "AllowList",
    "AssetError",
    "Assets",
    "Browser",
    "BrowserEndpoint",
    "BrowserSettings",
    "BrowserStatus",
    "CdpConnection",
    "CdpError",
    "ChromeUnauthorized",
    "ChromeUnreachable",
    "ChromeVersion",
    "Claim",
    "ConnectionLost",
    "HelperClient",
    "HelperError",
    "HttpEndpoint",
    "HttpSettings",
    "LocalHelper",
    "LocalHelperSettings",
    "PageError",
    "PageGone",
    "PageInfo",
    "PageOwned",
    "PageTarget",
    "check_literal",
    "chrome_version",
    "connect_cdp",
    "fetch_assets",
    "list_pages",
    "open_page",
    "parse_browser_url",
    "parse_http_url",
    "throwaway_page",
]
