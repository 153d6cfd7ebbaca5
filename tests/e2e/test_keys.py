"""Telephone keys through everything: a real phone's reach the far end as tones, and its own come back as events."""

from __future__ import annotations

import asyncio
from array import array
from pathlib import Path

import numpy as np
import pytest

from gateway.codecs.dtmf import DtmfDetector
from gateway.codecs.g711 import encode_ulaw
from gateway.protocol.dtmf import frequencies
from tests.demo.call import CALLEE, CALLER
from tests.demo.world import Ports, World, WorldOptions, world
from tests.support.audio import Samples, resample, silence, sine, tone_hz, write_wav
from tests.support.baresip import SAMPLE_RATE_HZ
from tests.support.wire import may_tap

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.alone,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not may_tap(), reason="looking at packets needs root or CAP_NET_RAW"),
]

RATE_HZ = 16_000


def key(digit: str, seconds: float) -> Samples:
    low, high = frequencies(digit)
    return sine(low, -15, seconds, RATE_HZ, ramp_s=0.003) + sine(high, -13, seconds, RATE_HZ, ramp_s=0.003)


def digits_in(samples: Samples, rate_hz: int) -> str:
    scaled = np.clip(np.round(resample(samples, rate_hz, 8000) * 32767), -32768, 32767).astype(np.int16)
    return "".join(
        heard.digit
        for heard in DtmfDetector().feed("PCMU", encode_ulaw(array("h", scaled.tolist())))
        if heard.samples is not None
    )


async def establish(here: World) -> int:
    mark = here.phone.mark()
    await here.phone.dial(CALLEE)
    await here.far_end.wait_for(
        lambda state: bool(state["call"]) and state["call"]["state"] == "ringing", what="ringing", timeout_s=20
    )
    await here.far_end.answer()
    await here.phone.wait_event("CALL_ESTABLISHED", since=mark, timeout_s=20)
    return mark


async def our_offer_is_taken(here: World) -> None:
    """A call to the phone, in which the far end hears a tone that came sealed."""
    await here.far_end.wait_for(lambda state: state["call"] is None, what="end of the call", timeout_s=10)
    tone = here.phone.source.with_name("tone.wav")
    write_wav(tone, sine(440, -12, 30, SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
    here.phone.play(tone)
    mark = here.phone.mark()
    await here.far_end.ring(CALLER, name="Maria")
    await here.phone.wait_event("CALL_ESTABLISHED", since=mark, timeout_s=20)
    await asyncio.sleep(2.5)
    samples, rate_hz = await here.far_end.heard(1)
    await here.far_end.hang_up()
    await here.phone.wait_event("CALL_CLOSED", since=mark, timeout_s=10)
    assert abs(tone_hz(samples, rate_hz) - 440) < 2


@pytest.mark.parametrize("srtp", [False, True], ids=["rtp", "srtp"])
async def test_keys_go_both_ways(srtp: bool, tmp_path: Path) -> None:
    spoken = "1596#D"
    async with world(WorldOptions(tmp_path, Ports.free(), srtp=srtp), print) as here:
        await here.configure(await here.configuration())
        await here.wait_ready(print)
        parts = [part for digit in spoken for part in (key(digit, 0.12), silence(0.15, RATE_HZ))]
        await here.far_end.say(np.concatenate([silence(1.0, RATE_HZ), *parts]), RATE_HZ)
        mark = await establish(here)
        for digit in "2580*":
            await here.phone.command("sndcode", digit)
            await asyncio.sleep(0.4)
        await asyncio.sleep(1.5)
        heard = await here.far_end.heard(6)
        told = [event for event in here.phone.events[mark:] if event.type in {"CALL_DTMF_START", "CALL_DTMF_END"}]
        await here.phone.hang_up()
        await here.phone.wait_event("CALL_CLOSED", since=mark, timeout_s=10)
        if srtp:
            await our_offer_is_taken(here)
        media = {line.split()[2] for one in here.tap.sip() for line in one.body.splitlines() if line.startswith("m=")}
    assert media == {"RTP/SAVP" if srtp else "RTP/AVP"}
    assert digits_in(*heard) == "2580*"
    starts = [str(event.detail.get("param")) for event in told if event.type == "CALL_DTMF_START"]
    assert "".join(starts) == spoken, [dict(event.detail) for event in told]
