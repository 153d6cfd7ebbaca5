"""Which driver an attached page gets: WhatsApp Web's, or the one for a user's script."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from gateway.accounts.page_config import PageLinkSettings
from gateway.browser import BrowserEndpoint, PageTarget
from gateway.browser.inject import SCRIPT, WHATSAPP
from gateway.domain.ids import AccountId
from gateway.page.driver import PageListener
from gateway.page.script import Script, ScriptDriver, load_script
from gateway.page.whatsapp import WhatsAppDriver

Driver = WhatsAppDriver | ScriptDriver


def bundle_driver(settings: PageLinkSettings) -> str:
    """Return which of the bundle's drivers runs in the page."""
    return SCRIPT if settings.page_script is not None else WHATSAPP


def read_script(settings: PageLinkSettings) -> Script | None:
    """Return the user's script as its file is now; None where WhatsApp Web is driven.

    Raises:
        ConfigError: it cannot be loaded.
    """
    return None if settings.page_script is None else load_script(settings.page_script)


def make_driver(
    script: Script | None,
    target: PageTarget,
    listener: PageListener,
    endpoint: BrowserEndpoint,
    settings: PageLinkSettings,
    account_id: AccountId,
) -> tuple[Driver, Coroutine[Any, Any, None]]:
    """Return the page's driver, and what has to run beside it.

    Args:
        script: the user's script, if one drives the page.
        target: the page.
        listener: whom the driver tells.
        endpoint: the page's Chrome.
        settings: process settings.
        account_id: whose page.
    """
    if script is None:
        gates = settings.force_gates(account_id)
        return WhatsAppDriver(target, listener, force_gates=gates), _nothing()
    driver = ScriptDriver(target, listener, script=script, endpoint=endpoint, http=settings.browser.http)
    return driver, driver.run()


async def _nothing() -> None:
    await asyncio.Event().wait()
