"""Recorded speech through a real page, both ways at once, judged by PESQ (ITU-T P.862) at 8 kHz.

Up: said by the far end, played by the page, heard by the phone with 60 ms of jitter buffer. Down: said by the phone,
heard by the far end from the page's microphone. All that a call has is in it: worklets, Chrome's encoder, WebRTC,
packet path, the page's jitter buffer, the fake sound device's clock, and the machine's load.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import numpy as np

from tests.bench.page.figures import played_by_phone
from tests.bench.page.phone import RATE_HZ as PHONE_HZ
from tests.bench.page.world import Bridged, PhoneProcess
from tests.bench.results import Section
from tests.bench.sound.scorer import NoScorer, Scorer, scorer
from tests.support.audio import Samples, find_offset, resample, wav_bytes
from tests.support.recorded_speech import recorded

PAGE_HZ: Final = 16_000
_LEAD_S: Final = 1.0  # of silence, while the buffers come to rest
_BAR: Final = 4.0


async def measure(section: Section, line: Bridged, peer: PhoneProcess, *, rounds: int, seconds: float) -> None:
    """Make a call for each round, and judge what both sides heard of the other."""
    try:
        with contextlib.ExitStack() as stack:
            # in a thread: the packets of the call go through this loop
            judge = await asyncio.to_thread(stack.enter_context, scorer())
            found = [await _round(line, peer, judge, seconds) for _ in range(rounds)]
    except NoScorer as why:
        section.skip("speech_up_pesq", "PESQ through the page", str(why))
        return
    for way, title in (("up", "page speaker to phone"), ("down", "phone to page microphone")):
        scores = [one[way] for one in found]
        what = f"PESQ through the page, PCMU, {title}"
        section.add(f"speech_{way}_pesq", what, scores, "MOS", bar=_BAR, at_least=True)


async def _round(line: Bridged, peer: PhoneProcess, judge: Scorer, seconds: float) -> dict[str, float]:
    voice = recorded()
    spoken = voice.samples[: round(seconds * voice.rate_hz)]
    by_page, by_phone = (resample(spoken, voice.rate_hz, rate_hz) for rate_hz in (PAGE_HZ, PHONE_HZ))
    to = await line.call(peer.port)
    try:
        await peer.talk(to, np.zeros(0), 5.0)
        await line.stand_in.say_wav(wav_bytes(np.concatenate([np.zeros(round(_LEAD_S * PAGE_HZ)), by_page]), PAGE_HZ))
        total_s = _LEAD_S + seconds + 1.5
        kept = await peer.talk(to, np.concatenate([np.zeros(round(_LEAD_S * PHONE_HZ)), by_phone]), total_s)
        at_far_end = (await line.stand_in.heard(total_s + 2)).astype(np.float64) / 32768
    finally:
        await line.hang_up()
    return {
        "up": await asyncio.to_thread(_judged, judge, by_phone, played_by_phone(kept)),
        "down": await asyncio.to_thread(_judged, judge, by_phone, resample(at_far_end, PAGE_HZ, PHONE_HZ)),
    }


def _judged(judge: Scorer, said: Samples, heard: Samples) -> float:
    """PESQ of what was said in what was heard, wherever in it that begins."""
    piece = said[PHONE_HZ : 5 * PHONE_HZ]
    start = max(0, find_offset(piece, heard)[0] - PHONE_HZ)
    size = min(len(said), len(heard) - start)
    return judge.score(said[:size], heard[start : start + size], PHONE_HZ, wide=False).pesq
