"""Telephone keys in the packet path: heard in audio and sent as events, taken as events and told to call control."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from gateway.codecs.dtmf import DtmfDetector
from gateway.protocol.dtmf import SILENT_S, EventReceiver, EventSender, KeyPress

OnKey = Callable[[KeyPress], None]
"""Takes a key of the SIP peer when it is over."""

_CHECK_S: Final = SILENT_S / 3


class KeyTap:
    """Listens to the audio that goes to the SIP peer; puts telephone-events in the place of keys that it hears.

    The first 40 to 60 ms of a key have gone out as audio before it is known for a key; its event begins that much late
    and is as long as the key.

    Args:
        codecs: codec by payload type of the packets.
        payload_type: of telephone-event.
    """

    __slots__ = ("_codecs", "_detector", "sender")

    def __init__(self, codecs: Mapping[int, str], payload_type: int) -> None:
        self._codecs = codecs
        self._detector = DtmfDetector()
        self.sender = EventSender(payload_type)

    def use(self, codecs: Mapping[int, str]) -> None:
        """Take the packets' payload types to be *codecs* from now on."""
        self._codecs = codecs

    def replace(self, payload_type: int, payload: bytes, timestamp: int) -> tuple[bytes, int, bool] | None:
        """Return payload, timestamp and marker of the event in place of an audio packet, None to leave it."""
        codec = self._codecs.get(payload_type)
        if codec is None:
            return None
        for heard in self._detector.feed(codec, payload):
            if heard.samples is None:
                self.sender.press(heard.digit)
            else:
                self.sender.release(heard.samples)
        return self.sender.next(timestamp, len(payload))


class KeyWatch:
    """Makes keys of the SIP peer's telephone-events; one whose end was lost is over some time after its last packet.

    Args:
        loop: for the timer.
        on_key: takes each key, once.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_key: OnKey) -> None:
        self._loop = loop
        self._on_key = on_key
        self._events = EventReceiver()
        self._timer: asyncio.TimerHandle | None = None
        self.keys = 0

    def receive(self, ssrc: int, timestamp: int, marker: bool, payload: bytes, now_s: float) -> bool:
        """Take an event packet; see `EventReceiver.receive`. Return whether a key is held."""
        self._tell(self._events.receive(ssrc, timestamp, marker, payload, now_s))
        if self._events.active and self._timer is None:
            self._timer = self._loop.call_later(_CHECK_S, self._check)
        return self._events.active

    def close(self) -> None:
        """Stop the timer; a key that is held is forgotten."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        self._timer = None
        self._tell(self._events.expire(self._loop.time()))
        if self._events.active:
            self._timer = self._loop.call_later(_CHECK_S, self._check)

    def _tell(self, keys: tuple[KeyPress, ...]) -> None:
        for key in keys:
            self.keys += 1
            self._on_key(key)
