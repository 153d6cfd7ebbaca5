"""What a page that was open before us did already: whether it asked for a microphone, and the sound that it plays.

The bundle's hooks see what is done after them. What was done before is in the page's heap, and CDP finds it there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

from gateway.browser.errors import CdpError, PageError
from gateway.domain.errors import Unavailable

ADOPTED: Final = ("AudioNode", "HTMLMediaElement", "RTCPeerConnection")
"""Interfaces whose instances the bundle's command `adopt` is given, in this order."""

_GROUP: Final = "ponte-adoption"
_TIMEOUT_S: Final = 20.0  # a search collects garbage first, which takes a second in a page of WhatsApp's size

Send = Callable[..., Awaitable[dict[str, Any]]]


async def touched_microphone(send: Send) -> bool:
    """Say whether the page's code has been at ``navigator.mediaDevices``, and may hold on to what it found there.

    The object is made at the first look at it and kept from then on.

    Args:
        send: sends a CDP command in the page's session.

    Raises:
        Unavailable: the page went away.
    """
    try:
        found = await _instances(send, "MediaDevices")
        if found is None:
            return False
        counted = await send(
            "Runtime.callFunctionOn",
            {"objectId": found, "functionDeclaration": "function () { return this.length; }", "returnByValue": True},
        )
        value = counted.get("result", {}).get("value", 0)
        return isinstance(value, int) and value > 0
    except CdpError:
        return True  # it cannot be told, and a page that is loaded anew for nothing only costs time
    finally:
        await _release(send)


async def adopt(send: Send) -> int:
    """Hand the bundle what the page had made before it: audio nodes, media elements, peer connections.

    Returns:
        How many of them the bundle took up.

    Raises:
        PageError: the bundle failed at it.
        Unavailable: the page went away.
    """
    taken = 0
    try:
        for interface in ADOPTED:
            found = await _instances(send, interface)
            if found is None:
                continue
            answer = await send(
                "Runtime.callFunctionOn",
                {
                    "objectId": found,
                    "functionDeclaration": "function (name) { return globalThis.__ponte.adopt(name, this); }",
                    "arguments": [{"value": interface}],
                    "awaitPromise": True,
                    "returnByValue": True,
                },
                timeout_s=_TIMEOUT_S,
            )
            if "exceptionDetails" in answer:
                fault = answer.get("result", {}).get("description", "it threw")
                raise PageError("page_failed", f"{interface}: {str(fault).splitlines()[0]}")
            value = answer.get("result", {}).get("value", 0)
            taken += value if isinstance(value, int) else 0
        return taken
    finally:
        await _release(send)


async def _instances(send: Send, interface: str) -> str | None:
    """Return the object id of an array with every living instance; None where the page has no such interface."""
    prototype = await send(
        "Runtime.evaluate",
        {"expression": f"globalThis.{interface}?.prototype", "objectGroup": _GROUP, "silent": True},
    )
    object_id = prototype.get("result", {}).get("objectId")
    if not isinstance(object_id, str):
        return None
    found = await send(
        "Runtime.queryObjects", {"prototypeObjectId": object_id, "objectGroup": _GROUP}, timeout_s=_TIMEOUT_S
    )
    objects = found.get("objects", {}).get("objectId")
    return objects if isinstance(objects, str) else None


async def _release(send: Send) -> None:
    with contextlib.suppress(CdpError, Unavailable):
        await send("Runtime.releaseObjectGroup", {"objectGroup": _GROUP}, timeout_s=2)
