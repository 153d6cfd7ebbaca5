"""The way of one call's sound, from what the media plane and the page count. No clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

from gateway.domain.hops import WHY, CallPath, Hop, Reading, broken
from gateway.domain.page_audio import PageAudio
from gateway.media.plane import DirectionStats, MediaStats

Way = Literal["wa_to_sip", "sip_to_wa"]


@dataclass(frozen=True, slots=True)
class Trouble:
    """A direction that is not heard.

    Attributes:
        silent: which.
        hop: where it breaks.
    """

    silent: Way
    hop: Hop

    @property
    def why(self) -> str:
        """The same as a sentence."""
        return WHY[self.hop]


def path_of(before: tuple[MediaStats, PageAudio | None], now: tuple[MediaStats, PageAudio | None]) -> CallPath:
    """Return the hops' readings between two looks at plane and page."""
    (old, old_page), (new, new_page) = before, now
    was, page = old_page or PageAudio(), new_page or PageAudio()
    mic_frames = _grown(was.mic_frames, page.mic_frames)
    # buffer and microphone are one worklet: where it stands still, what came is not counted
    mic_packets = None if mic_frames == 0 else _grown(was.mic_packets, page.mic_packets)
    frames = 0 if page.speaker_taken is False else _grown(was.speaker_frames, page.speaker_frames)
    to_page_ms, to_phone_ms = _half(new.page_round_trip_ms), _half(new.round_trip_ms)
    up, up_was, down, down_was = new.wa_to_sip, old.wa_to_sip, new.sip_to_wa, old.sip_to_wa
    return CallPath(
        (
            Reading(Hop.PAGE_SPEAKER, frames, page.speaker_dbfs),
            Reading(Hop.PAGE_TO_GATEWAY, _grown(up_was.packets, up.packets), up.came_dbfs, to_page_ms),
            Reading(Hop.GATEWAY_TO_PHONE, _grown(up_was.passed, up.passed), up.went_dbfs, to_phone_ms),
        ),
        (
            Reading(Hop.PHONE_TO_GATEWAY, _grown(down_was.packets, down.packets), down.came_dbfs, to_phone_ms),
            Reading(Hop.GATEWAY_TO_PAGE, _grown(down_was.passed, down.passed), down.went_dbfs, to_page_ms),
            Reading(Hop.PAGE_BUFFER, mic_packets, None, page.wait_ms),
            Reading(Hop.PAGE_MICROPHONE, mic_frames, page.mic_dbfs),
        ),
    )


def _grown(before: int | None, now: int | None) -> int | None:
    """None where nobody counts, or the count began anew."""
    return None if before is None or now is None or now < before else now - before


def _half(round_trip_ms: float | None) -> float | None:
    return None if round_trip_ms is None else round(round_trip_ms / 2, 2)


class PathWatch:
    """Notices that one side of a call is not heard, and where its sound gets lost.

    Args:
        silent_s: how long there is no packet until that is silence. Figures may be a second old.
        looks: how many looks in a row sound has to get lost.
    """

    def __init__(self, silent_s: float = 2.4, looks: int = 4) -> None:
        self._silent_s = silent_s
        self._looks = looks
        self._since_s: float | None = None  # from when on packets are waited for
        self._kept: deque[tuple[MediaStats, PageAudio | None]] = deque(maxlen=3)
        self._suspect: tuple[Trouble | None, int] = None, 0
        self._told: Trouble | None = None
        self._page_age = 0  # looks since the page told something
        self.path: CallPath | None = None

    def look(
        self, now_s: float, stats: MediaStats, page: PageAudio | None, *, explained: bool
    ) -> tuple[Trouble | None] | None:
        """Take a look; give what is new to tell, None where nothing is.

        Args:
            now_s: monotonic.
            stats: of the media plane.
            page: of the page; None where it was not looked at, or did not tell.
            explained: a hold, a mute or the like explains silence.
        """
        last = self._kept[-1] if self._kept else None
        self._page_age = self._page_age + 1 if page is None else 0
        if self._page_age == 1 and last is not None:  # it is looked at every other time
            page = last[1]
        self._kept.append((stats, page))
        if self._since_s is None or explained:
            self._since_s = now_s
        if last is None:
            return None
        self.path = path_of(self._kept[0], self._kept[-1])
        if explained:
            trouble, self._suspect = None, (None, 0)
        else:
            trouble = self._trouble(now_s, stats)
        if (trouble is None) == (self._told is None):  # another hop of the same silence is no news
            return None
        self._told = trouble
        return (trouble,)

    def _trouble(self, now_s: float, stats: MediaStats) -> Trouble | None:
        ages_s = [self._age_s(now_s, one) for one in (stats.wa_to_sip, stats.sip_to_wa)]
        if min(ages_s) > self._silent_s / 2:
            # Both directions without packets are no one-way audio, but no audio: the legs' own watch has that.
            self._suspect = None, 0
            return None
        assert self.path is not None
        if ages_s[0] >= self._silent_s:
            return Trouble("wa_to_sip", broken(self.path.wa_to_sip) or Hop.PAGE_TO_GATEWAY)
        if ages_s[1] >= self._silent_s:
            return Trouble("sip_to_wa", broken(self.path.sip_to_wa) or Hop.PHONE_TO_GATEWAY)
        return self._without_sound(self.path)

    def _age_s(self, now_s: float, direction: DirectionStats) -> float:
        assert self._since_s is not None
        last_s = direction.last_packet_s
        return now_s - (self._since_s if last_s is None else max(last_s, self._since_s))

    def _without_sound(self, path: CallPath) -> Trouble | None:
        """Packets come and sound becomes silence on its way; believed when it was so for `looks` looks."""
        found: Trouble | None = None
        if (hop := broken(path.wa_to_sip)) is not None:
            found = Trouble("wa_to_sip", hop)
        elif (hop := broken(path.sip_to_wa)) is not None:
            found = Trouble("sip_to_wa", hop)
        before, times = self._suspect
        self._suspect = found, times + 1 if found is not None and found == before else 1
        return found if found is not None and self._suspect[1] >= self._looks else None
