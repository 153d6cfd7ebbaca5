"""The call API through everything: real HTTP, a real Chromium, a real phone behind a real PBX."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from tests.demo.call import CALLEE
from tests.demo.world import Ports, World, WorldOptions, world
from tests.e2e.test_keys import digits_in
from tests.support.audio import level_dbfs, read_wav, sine, tone_hz, write_wav
from tests.support.baresip import SAMPLE_RATE_HZ
from tests.support.two_tones import read_stereo
from tests.support.wire import may_tap

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.alone,
    pytest.mark.timeout(150),
    pytest.mark.skipif(not may_tap(), reason="looking at packets needs root or CAP_NET_RAW"),
]


FAR_RATE_HZ = 16_000
TEST_HZ = 1000  # of the tone by which the page's sound is proven


class Api:
    """The API as a client has it."""

    def __init__(self, here: World, http: httpx2.AsyncClient) -> None:
        self._here, self._http = here, http

    async def get(self, path: str) -> Any:
        answer = await self._http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, body: dict[str, Any] | None = None, **headers: str) -> Any:
        answer = await self._http.post(path, json=body or {}, headers=headers)
        assert answer.status_code in {200, 202}, answer.text
        return answer.json()

    async def until(self, call_id: str, state: str) -> dict[str, Any]:
        async with asyncio.timeout(20):
            while (call := await self.get(f"/call/{call_id}"))["state"] != state:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        found: dict[str, Any] = call
        return found


async def test_a_call_from_the_api_is_asked_for_heard_silenced_keyed_and_ended(tmp_path: Path) -> None:
    async with (
        world(WorldOptions(tmp_path, Ports.free()), print) as here,
        httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{here.options.ports.api}",
            headers={"Authorization": f"Bearer {here.key}"},
            timeout=20,
        ) as http,
    ):
        api = Api(here, http)
        await here.configure(await here.configuration())
        await here.wait_ready(print)
        tone = here.phone.source.with_name("tone.wav")
        write_wav(tone, sine(440, -12, 60, SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
        here.phone.play(tone)
        mark = here.phone.mark()

        # the phone rings first, and WhatsApp only when it is answered
        wanted = {"number": CALLEE, "extension": "1000"}
        call = await api.post("/call/offer", wanted, **{"Idempotency-Key": "e2e"})
        call_id = call["id"]
        assert (await api.post("/call/offer", wanted, **{"Idempotency-Key": "e2e"}))["id"] == call_id
        busy = await http.post("/call/offer", json=wanted)
        assert (busy.status_code, busy.json()["code"]) == (409, "line_busy")
        await here.phone.wait_event("CALL_ESTABLISHED", since=mark, timeout_s=20)
        await here.far_end.wait_for(
            lambda state: bool(state["call"]) and state["call"]["state"] == "ringing", what="ringing", timeout_s=20
        )
        await asyncio.sleep(1.5)  # the phone that has answered hears the other's ring
        await here.far_end.answer()
        assert (await api.until(call_id, "ACTIVE"))["sip"]["user"] == "1000"

        assert (await api.post(f"/call/{call_id}/record"))["recording"]["state"] == "recording"
        await here.far_end.say(sine(1000, -12, 30, FAR_RATE_HZ), FAR_RATE_HZ)
        await asyncio.sleep(2)
        samples, rate_hz = await here.far_end.heard(1)
        assert abs(tone_hz(samples, rate_hz) - 440) < 2
        stopped = (await api.post(f"/call/{call_id}/record", {"recording": False}))["recording"]
        assert (stopped["state"], stopped["duration_s"] > 1.5) == ("stopped", True)
        assert (await api.post(f"/call/{call_id}/mute"))["muted"] is True
        await asyncio.sleep(2)
        samples, _ = await here.far_end.heard(1)
        assert level_dbfs(samples) < -50
        # keys are heard beside a mute
        assert (await api.post(f"/call/{call_id}/dtmf", {"digits": "2580#", "duration_ms": 120}))["taken"] == 5
        await asyncio.sleep(3)
        samples, rate_hz = await here.far_end.heard(4)
        assert digits_in(samples, rate_hz) == "2580#"
        assert (await api.post(f"/call/{call_id}/mute", {"muted": False}))["muted"] is False
        await asyncio.sleep(2)
        samples, rate_hz = await here.far_end.heard(1)
        assert abs(tone_hz(samples, rate_hz) - 440) < 2

        await api.post(f"/call/{call_id}/hangup")
        await here.phone.wait_event("CALL_CLOSED", since=mark, timeout_s=10)
        await here.far_end.wait_for(lambda state: state["call"] is None, what="end of the call", timeout_s=10)
        assert (await api.until(call_id, "ENDED"))["ending"]["reason"] == "hangup"
        samples, rate_hz = read_wav(here.phone.recorded()[-1])
        frame = rate_hz // 10
        frames = [samples[at : at + frame] for at in range(0, 4 * rate_hz, frame)]
        first = next(at for at, one in enumerate(frames) if level_dbfs(one) > -25)
        loud = [one for one in frames[first : first + 14] if level_dbfs(one) > -25]  # before anybody speaks
        assert 7 <= len(loud) <= 11  # a second of every five
        assert all(abs(tone_hz(one, rate_hz) - 425) < 10 for one in loud[1:-1])
        over = await http.post(f"/call/{call_id}/hangup")
        assert (over.status_code, over.json()["state"]) == (409, "ENDED")

        [record] = (await api.get("/calls?origin=api"))["calls"]
        assert (record["id"], record["whatsapp"]["number"]) == (call_id, CALLEE.removeprefix("+"))
        assert record["quality"]["sip_to_wa"]["packets"] > 100
        assert record["quality"]["wa_to_sip"]["packets"] > 100
        assert record["quality"]["wa_to_sip"]["mos"] > 3
        assert record["quality"]["sip_to_wa"]["delay_ms"] > 20
        sound = await http.get(f"/calls/{call_id}/recording")
        (tmp_path / "heard.opus").write_bytes(sound.content)
        both, rate_hz = read_stereo(tmp_path / "heard.opus")
        end = both.shape[1] - rate_hz // 2
        for channel, hz in ((0, 1000), (1, 440)):  # left WhatsApp, right the phone
            assert abs(tone_hz(both[channel, end - rate_hz : end] / 32768, rate_hz) - hz) < 2
        await _dialled_calls_are_proven_unheard(here, here.options.folder / "gateway.log")
        events = (await api.get("/events?limit=500"))["events"]
        of_it = [one for one in events if one["data"].get("call_id") == call_id]
        assert {one["data"]["whatsapp_number"] for one in of_it} == {record["whatsapp"]["number"]}
        mine = [(one["type"], one["data"].get("state")) for one in of_it]
        assert mine[-1] == ("call.ended", None)
        assert ("call.state", "ACTIVE") in mine
        kinds = {(one["type"], one["data"].get("state")) for one in events}
        assert {("page.state", "READY"), ("registration.state", "registered"), ("account.state", "enabled")} <= kinds
        assert "audio.one_way" not in {one["type"] for one in events}


async def _dialled_calls_are_proven_unheard(here: World, log: Path) -> None:
    """While it rings at the callee's the page's sound is tested: the callee hears none of it, whenever it answers."""
    silence = here.phone.source.with_name("silence.wav")
    write_wav(silence, np.zeros(30 * SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
    here.phone.play(silence)
    for rings_s in (3.5, 0.0):  # the gateway listens for three seconds
        before = (await asyncio.to_thread(log.read_text)).count('"sound_proven"')
        mark = here.phone.mark()
        await here.phone.dial(CALLEE)
        await here.far_end.wait_for(
            lambda state: bool(state["call"]) and state["call"]["state"] == "ringing", what="ringing", timeout_s=20
        )
        await asyncio.sleep(rings_s)
        await here.far_end.answer()
        await here.phone.wait_event("CALL_ESTABLISHED", since=mark, timeout_s=20)
        await asyncio.sleep(1)
        samples, rate_hz = await here.far_end.heard(4)  # with the end of the call before, which had no such tone
        frame = rate_hz // 20
        loud = [one for at in range(0, len(samples), frame) if level_dbfs(one := samples[at : at + frame]) > -55]
        assert not [one for one in loud if abs(tone_hz(one, rate_hz) - TEST_HZ) < 50]
        await here.phone.hang_up()
        await here.far_end.wait_for(lambda state: state["call"] is None, what="end of the call", timeout_s=10)
        if rings_s:
            assert (await asyncio.to_thread(log.read_text)).count('"sound_proven"') > before
