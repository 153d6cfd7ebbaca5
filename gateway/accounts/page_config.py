"""Where an account's page is, and how pages are reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gateway.accounts.build_watch import BuildSettings
from gateway.browser import BrowserSettings
from gateway.browser.local_helper import LocalHelperSettings
from gateway.domain.ids import AccountId


@dataclass(frozen=True, slots=True)
class PageLinkConfig:
    """What of an account's configuration concerns its page; two links with equal ones are the same link.

    Attributes:
        account_id: whose page; a Chrome that is started for it has the account's own profile.
        chrome_url: the account's chromeRemoteURL.
        helper_url: the account's nodeRemoteHelper.
        wasm_host: where bundle and WASM are served; empty: this machine's address towards Chrome.
        wasm_port: its port.
    """

    account_id: AccountId
    chrome_url: str | None = field(repr=False)
    helper_url: str | None = field(repr=False)
    wasm_host: str | None
    wasm_port: int


@dataclass(frozen=True, slots=True)
class PageLinkSettings:
    """What of the process's settings concerns pages.

    Attributes:
        browser: how Chrome, helper and wasm server are reached.
        page_url: the page that is driven.
        page_script: a user's script that drives it; None: it is WhatsApp Web.
        local_helper: how a helper is started for an account that names neither Chrome nor helper.
        wasm_host: where this gateway's own wasm server listens.
        helper_token: for helpers whose URL has none.
        local_helper_url: the helper of accounts that name neither Chrome nor helper; empty: one is started.
        webrtc_timeout_s: for ICE and DTLS with the page.
        poll_s: between questions for the page's state while it is not READY.
        retry_min_s: pause after the first failure to attach or to connect the media leg.
        retry_max_s: cap of that pause.
        builds: when builds of WhatsApp Web are looked at.
        force_gates: whether to pretend, for that account, that WhatsApp has enabled its calls.
    """

    browser: BrowserSettings
    page_url: str
    local_helper: Callable[[AccountId], LocalHelperSettings]
    page_script: Path | None = None
    wasm_host: str = "127.0.0.1"
    helper_token: str | None = field(default=None, repr=False)
    local_helper_url: str = ""
    webrtc_timeout_s: float = 15.0
    poll_s: float = 2.0
    retry_min_s: float = 0.5
    retry_max_s: float = 10.0
    builds: BuildSettings = field(default_factory=BuildSettings)
    force_gates: Callable[[AccountId], bool] = lambda _: False
