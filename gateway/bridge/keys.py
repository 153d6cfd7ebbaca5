"""Keys of the SIP side, played to WhatsApp one after the other as tones of the page's media module."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import structlog

from gateway.domain.errors import PonteError
from gateway.protocol.dtmf import KeyPress

Source = Literal["event", "info", "api"]

MAX_WAITING: Final = 64  # keys: longer than any number or card that is typed ahead
MIN_TONE_MS: Final = 50  # shorter keys are not heard everywhere (ITU-T Q.24)
PAUSE_S: Final = 0.07  # between two tones, so that the same key twice is two keys (Q.24: 40 ms, and a margin)
LEAD_S: Final = 0.06  # what is muted is still on its way: Chrome's jitter buffer stands at 30 to 60 ms
TAIL_S: Final = 0.1  # the page may be told late
OTHER_SOURCE_S: Final = 5.0  # peers that send each key both ways do so within this time


class KeyPlayer:
    """Plays keys. A peer that tells each key twice, as an event and by INFO, is heard once.

    A key is played when it is over, since only then is its length known.

    Args:
        play: plays a digit for some milliseconds and returns at once.
        mute: silences the SIP side's audio towards WhatsApp for some seconds.
    """

    def __init__(self, play: Callable[[str, int], Awaitable[None]], mute: Callable[[float], None]) -> None:
        self._play = play
        self._mute = mute
        self._waiting: asyncio.Queue[KeyPress] = asyncio.Queue(MAX_WAITING)
        self._source: Source | None = None
        self._source_at_s = 0.0
        self._log = structlog.get_logger("ponte.call")
        self.played = 0
        self.dropped = 0

    def press(self, key: KeyPress, source: Source) -> bool:
        """Play *key* after those that wait, and say so; dropped when they are too many, or a phone tells it twice.

        What the API sends is no phone's: it is heard beside either.
        """
        now = asyncio.get_running_loop().time()
        if source != "api":
            if self._source not in {None, source} and now - self._source_at_s < OTHER_SOURCE_S:
                self.dropped += 1
                return False
            self._source, self._source_at_s = source, now
        if self._waiting.full():
            self.dropped += 1
            return False
        self._waiting.put_nowait(key)
        return True

    async def run(self) -> None:
        """Play until cancelled. A page that cannot play is told of in the log; the call goes on."""
        while True:
            key = await self._waiting.get()
            length_ms = max(MIN_TONE_MS, key.duration_ms)
            self._mute(LEAD_S + length_ms / 1000 + TAIL_S)
            await asyncio.sleep(LEAD_S)
            try:
                await self._play(key.digit, length_ms)
            except PonteError as error:
                self.dropped += 1
                self._log.warning("key_not_played", error=str(error), code=error.code)
                continue
            self.played += 1
            await asyncio.sleep(length_ms / 1000 + PAUSE_S - LEAD_S)
