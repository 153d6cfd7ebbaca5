"""Proof of sound before a call: a tone of 200 ms from the page, through everything to the gateway, and back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from gateway.domain.errors import PonteError
from gateway.domain.hops import SILENT_DBFS, WHY, Hop
from gateway.domain.page_audio import PageTest
from gateway.media.echo import EchoFigures, EchoingSide
from gateway.media.page_side import PageSide
from gateway.page.driver import PageDriver, TestableDriver

_ECHO_S: Final = 3.0  # the page gives up before
_HEARD_DBFS: Final = -40.0  # as the page has it


@dataclass(frozen=True, slots=True)
class Proof:
    """What a test found.

    Attributes:
        broken: the hop that nothing came to; None: sound flows.
        took_ms: from the page's tone to the page hearing it.
    """

    broken: Hop | None
    took_ms: float | None = None

    @property
    def why(self) -> str:
        """What is wrong, as a sentence; empty where nothing is."""
        return "" if self.broken is None else WHY[self.broken]


async def prove(driver: PageDriver, side: PageSide) -> Proof | None:
    """Run the test, which nobody hears; None where it could not be run to its end, as where a call began.

    Args:
        driver: of the page, in which no call's media runs.
        side: the plane's side of that page.
    """
    if not isinstance(driver, TestableDriver) or not isinstance(side, EchoingSide):
        return None
    echoing = asyncio.ensure_future(side.echo(_ECHO_S))
    try:
        page = await driver.self_test()
        # the figures are those of its whole time, and the page may have heard enough long before
        return None if page.aborted else verdict(page, await echoing)
    except (PonteError, TimeoutError):
        return None
    finally:
        if not echoing.done():
            echoing.cancel()
        await asyncio.gather(echoing, return_exceptions=True)


def verdict(page: PageTest, echo: EchoFigures) -> Proof:
    """Say where a tone got lost."""
    if not page.played:
        return Proof(Hop.PAGE_SPEAKER)
    if echo.packets == 0 or echo.peak_dbfs is None or echo.peak_dbfs <= SILENT_DBFS:
        return Proof(Hop.PAGE_TO_GATEWAY)
    # What was heard came: the page's count of packets may be a quarter of a second older than what it heard.
    if page.heard_dbfs is not None and page.heard_dbfs > _HEARD_DBFS:
        return Proof(None, page.took_ms)
    return Proof(Hop.PAGE_BUFFER if page.packets == 0 else Hop.PAGE_MICROPHONE)
