"""A phone transfers its call to another one, with everything real; the person on WhatsApp notices nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx2
import pytest

from tests.demo.world import GUEST, GUEST_PASSWORD, Ports, World, WorldOptions, world
from tests.support.audio import read_wav, sine, tone_hz, write_wav
from tests.support.baresip import SAMPLE_RATE_HZ, baresip

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.timeout(180)]

FIRST_HZ, SECOND_HZ, WHATSAPP_HZ = 700, 1100, 900


async def _who_called_is_told_from_the_beginning(here: World, call_id: str) -> None:
    async with httpx2.AsyncClient(
        base_url=f"http://127.0.0.1:{here.options.ports.api}", headers={"authorization": f"Bearer {here.key}"}
    ) as http:
        events = (await http.get("/events?limit=500")).json()["events"]
        mine = [(one["type"], one["data"]) for one in events if one["data"].get("call_id") == call_id]
        assert mine[0][0] == "call.incoming"
        for _, data in mine:
            assert (data["whatsapp_number"], data["whatsapp_name"]) == ("5511988887777", "Maria")
            assert data["sip_user"]
        record = (await http.get(f"/calls/{call_id}")).json()
        assert (record["state"], record["whatsapp"]["number"]) == ("ACTIVE", "5511988887777")


async def test_a_phone_transfers_a_whatsapp_call(tmp_path: Path) -> None:
    options = WorldOptions(tmp_path, Ports.free(), with_helper=True, tap=False)
    async with (
        world(options, print) as here,
        baresip(tmp_path / "guest", user=GUEST, password=GUEST_PASSWORD, registrar=here.pbx.address) as second,
    ):
        await here.configure(await here.configuration())
        await here.wait_ready(print)
        first = here.phone
        for phone, hz in ((first, FIRST_HZ), (second, SECOND_HZ)):
            wav = tmp_path / f"{hz}.wav"
            write_wav(wav, sine(hz, -12, 60, SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
            phone.play(wav)
        await here.far_end.say(sine(WHATSAPP_HZ, -12, 60, 48_000), 48_000)
        await here.far_end.ring("+5511988887777", name="Maria")
        await first.wait_event("CALL_ESTABLISHED", timeout_s=20)
        await asyncio.sleep(2.5)
        assert abs(tone_hz(*await here.far_end.heard(1)) - FIRST_HZ) < 1
        await first.command("transfer", f"sip:{GUEST}@{here.pbx.address}")
        await second.wait_event("CALL_ESTABLISHED", timeout_s=10)
        await first.wait_event("CALL_CLOSED", timeout_s=10)
        await asyncio.sleep(2.5)
        assert abs(tone_hz(*await here.far_end.heard(1)) - SECOND_HZ) < 1
        (call,) = (await here.status())["calls"]
        assert call["state"] == "ACTIVE"
        await _who_called_is_told_from_the_beginning(here, call["id"])
        await here.far_end.hang_up()
        await second.wait_event("CALL_CLOSED", timeout_s=10)
        heard, rate_hz = read_wav(second.recorded()[-1])
        assert abs(tone_hz(heard[-2 * rate_hz : -rate_hz // 2], rate_hz) - WHATSAPP_HZ) < 1
