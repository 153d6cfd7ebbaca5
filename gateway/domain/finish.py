"""Work that must be done whole, whoever is cancelled meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def finish(work: Coroutine[Any, Any, None]) -> None:
    """Run *work* to its end, in a task of its own; a cancellation of the caller is told after that.

    For what gives resources back. *work* must end by itself within a bounded time.

    Args:
        work: what must be done whole.

    Raises:
        CancelledError: the caller was cancelled meanwhile, once or more often.
    """
    task = asyncio.get_running_loop().create_task(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled and not task.cancelled() and task.exception() is None:
        raise asyncio.CancelledError
    task.result()
