"""Telephone keys in the packet path: heard in audio and sent as events, taken as events and told to call control."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from gateway.codecs import payload as payloads
from gateway.codecs.dtmf import RATE_HZ, DtmfDetector
from gateway.codecs.narrow import NarrowBand
from gateway.domain.codecs import CODECS, G711, PCMU
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
        events: payload type of telephone-event by its clock rate.
    """

    __slots__ = ("_codec", "_codecs", "_detector", "_events", "_narrow", "sender")

    def __init__(self, codecs: Mapping[int, str], events: Mapping[int, int]) -> None:
        self._detector = DtmfDetector()
        self._codecs: Mapping[int, str] = {}
        self._events: Mapping[int, int] = {}
        self._codec: str | None = None  # of the last packet
        self._narrow: NarrowBand | None = None  # made when the first packet of a wide band codec is heard
        self.sender = EventSender(*next((number, rate) for rate, number in events.items()))
        self.use(codecs, events)

    def use(self, codecs: Mapping[int, str], events: Mapping[int, int]) -> None:
        """Take the packets' and the events' payload types to be these from now on."""
        self._codecs, self._events = codecs, events
        if self._codec is not None:
            self._clock(self._codec)

    def replace(self, payload_type: int, payload: bytes, timestamp: int) -> tuple[bytes, int, bool] | None:
        """Return payload, timestamp and marker of the event in place of an audio packet, None to leave it."""
        codec = self._codecs.get(payload_type)
        if codec is None:
            return None
        if codec != self._codec:
            self._follow(codec)
        sender = self.sender
        narrow = (codec, payload) if self._narrow is None else (PCMU.name, self._narrow.feed(payload))
        for heard in self._detector.feed(*narrow):
            if heard.samples is None:
                sender.press(heard.digit)
            else:
                sender.release(heard.samples * sender.clock_rate_hz // RATE_HZ)
        return sender.next(timestamp, payloads.units(codec, payload)) if sender.active else None

    def _follow(self, codec: str) -> None:
        """Take packets of *codec* from now on; what was heard of a key in another one is forgotten."""
        before, self._codec = self._codec, codec
        if before is not None and not {before, codec} <= G711:
            self._detector = DtmfDetector()
        self._narrow = None if codec in G711 else NarrowBand(CODECS[codec])
        self._clock(codec)

    def _clock(self, codec: str) -> None:
        """Send events by the clock of *codec*, or by the one that the peer has."""
        clock = CODECS[codec].clock_rate_hz
        event_clock = clock if clock in self._events else next(iter(self._events))
        self.sender.use(self._events[event_clock], event_clock, clock)


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

    def receive(
        self, ssrc: int, timestamp: int, marker: bool, payload: bytes, now_s: float, clock_rate_hz: int
    ) -> bool:
        """Take an event packet; see `EventReceiver.receive`. Return whether a key is held."""
        self._tell(self._events.receive(ssrc, timestamp, marker, payload, now_s, clock_rate_hz))
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
