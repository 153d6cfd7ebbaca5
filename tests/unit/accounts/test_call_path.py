"""One-way audio: noticed in less than three seconds, told once, with the hop, and taken back."""

from __future__ import annotations

import pytest

from gateway.accounts.call_path import PathWatch, Trouble
from gateway.domain.hops import Hop
from gateway.domain.page_audio import PageAudio
from gateway.media.plane import DirectionStats, MediaStats

pytestmark = pytest.mark.unit


class Line:
    """A call that is looked at twice a second; what is broken of it is named."""

    def __init__(self) -> None:
        self.watch = PathWatch(silent_s=2.4, looks=4)
        self.last_s = {"up": 0.0, "down": 0.0}
        self.number = 0
        self.counts = dict.fromkeys(("frames", "up", "up_passed", "down", "down_passed", "buffer", "mic"), 0)

    def look(
        self, *stopped: str, mic: float = -20.0, went: float = -20.0, page: bool = True, explained: bool = False
    ) -> tuple[Trouble | None] | None:
        self.number += 1
        now_s = 1000 + self.number / 2
        for name in self.counts:
            if name not in stopped:
                self.counts[name] += 25
                self.last_s[name] = now_s
        counts = self.counts
        stats = MediaStats(
            wa_to_sip=DirectionStats(
                packets=counts["up"],
                passed=counts["up_passed"],
                came_dbfs=-20,
                went_dbfs=-20,
                last_packet_s=self.last_s["up"],
            ),
            sip_to_wa=DirectionStats(
                packets=counts["down"],
                passed=counts["down_passed"],
                came_dbfs=-20,
                went_dbfs=went,
                last_packet_s=self.last_s["down"],
            ),
        )
        seen = PageAudio(
            mic_dbfs=mic, speaker_dbfs=-20, mic_packets=counts["buffer"], speaker_frames=counts["frames"],
            mic_frames=counts["mic"],
        )  # fmt: skip
        return self.watch.look(now_s, stats, seen if page and self.number % 2 == 0 else None, explained=explained)


@pytest.mark.parametrize(
    ("stopped", "trouble"),
    [
        ({"frames", "up", "up_passed"}, Trouble("wa_to_sip", Hop.PAGE_SPEAKER)),
        ({"frames"}, Trouble("wa_to_sip", Hop.PAGE_SPEAKER)),
        ({"up", "up_passed"}, Trouble("wa_to_sip", Hop.PAGE_TO_GATEWAY)),
        ({"up_passed"}, Trouble("wa_to_sip", Hop.GATEWAY_TO_PHONE)),
        ({"down", "down_passed", "buffer"}, Trouble("sip_to_wa", Hop.PHONE_TO_GATEWAY)),
        ({"down_passed", "buffer"}, Trouble("sip_to_wa", Hop.GATEWAY_TO_PAGE)),
        ({"buffer"}, Trouble("sip_to_wa", Hop.PAGE_BUFFER)),
        ({"mic", "buffer"}, Trouble("sip_to_wa", Hop.PAGE_MICROPHONE)),
        ({"mic"}, Trouble("sip_to_wa", Hop.PAGE_MICROPHONE)),
    ],
)
def test_each_hop_that_stops_is_named_once_and_taken_back(stopped: set[str], trouble: Trouble) -> None:
    line = Line()
    assert [line.look() for _ in range(6)] == [None] * 6
    told = [line.look(*stopped) for _ in range(12)]
    assert [one for one in told if one is not None] == [(trouble,)]
    back = [line.look() for _ in range(6)]
    assert [one for one in back if one is not None] == [(None,)]
    assert trouble.why


def test_packets_that_stop_are_told_of_within_three_seconds() -> None:
    line = Line()
    for _ in range(4):
        line.look()
    told = [line.look("down", "down_passed", "buffer") for _ in range(6)]
    assert told.index((Trouble("sip_to_wa", Hop.PHONE_TO_GATEWAY),)) < 6  # the sixth comes 3 s after the last packet


def test_sound_that_becomes_silence_is_named() -> None:
    for hop, went in ((Hop.PAGE_MICROPHONE, -20.0), (Hop.GATEWAY_TO_PAGE, -90.0)):
        line = Line()
        told = [line.look(mic=-90.0, went=went) for _ in range(9)]
        assert [one for one in told if one is not None] == [(Trouble("sip_to_wa", hop),)]


def test_silence_that_is_explained_or_of_both_sides_or_short_is_not_one_way_audio() -> None:
    line = Line()
    assert [line.look("down", "down_passed", "buffer", explained=True) for _ in range(9)] == [None] * 9
    assert [line.look() for _ in range(9)] == [None] * 9
    assert [line.look("down", "down_passed", "buffer") for _ in range(2)] == [None] * 2
    assert [line.look() for _ in range(9)] == [None] * 9
    line = Line()
    assert [line.look("down", "up", page=False) for _ in range(9)] == [None] * 9


def test_a_page_that_tells_nothing_is_no_trouble() -> None:
    line = Line()
    assert [line.look(page=n < 4) for n in range(12)] == [None] * 12
    assert line.watch.path is not None
    assert line.watch.path.sip_to_wa[2].packets is None
