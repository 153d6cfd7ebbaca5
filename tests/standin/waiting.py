"""How calls are offered to the page: the one that it can take, and one that rings beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.standin.lines import Call, Message


def offer_of(call: Call) -> Message:
    """What the page is told of a caller."""
    return {
        "type": "offer", "id": call.id, "jid": call.jid, "phone": call.phone, "lid": call.lid,
        "name": call.name, "video": call.video, "group": call.group,
    }  # fmt: skip


async def ring_beside(call: Call, seconds: float, tell: Callable[[Message], None]) -> None:
    """Let a second caller ring, and give up."""
    tell({**offer_of(call), "type": "offer_beside"})
    await asyncio.sleep(seconds)
    tell({"type": "beside_over", "id": call.id})
