"""The remote control says what is wrong with what it is sent. No browser."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
import wave
from typing import Any

import httpx2
import pytest

from tests.standin.server import ROOT, StandIn
from tests.standin.sound import tone, wav_bytes

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="package")]


def eight_bit() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(8000)
        file.writeframes(b"\x80" * 100)
    return out.getvalue()


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("/ring", {}, "from: Field required."),
        ("/ring", {"from": "hello"}, "phone number of 5 to 15 digits"),
        ("/ring", {"from": "4915123456", "colour": 1}, "colour: Extra inputs are not permitted."),
        ("/ring", {"from": "4915123456", "video": "yes"}, "video: Input should be a valid boolean."),
        ("/ring", ["4915123456"], "The body must be a JSON object."),
        ("/reject", {"reason": "bored"}, "reason: Input should be"),
        ("/say", {}, "tone_hz: Field required."),
        ("/say", {"tone_hz": 9000}, "tone_hz: Input should be less than 8000."),
        ("/say", {"tone_hz": 1000, "seconds": 0}, "seconds: Input should be greater than 0."),
        ("/settings", {"logged_in": "maybe"}, "logged_in: Input should be a valid boolean."),
        ("/settings", {"late_state": 5}, "late_state: Extra inputs are not permitted."),
        ("/settings", {"not_on_whatsapp": ["x"]}, "not_on_whatsapp.0"),
    ],
)
async def test_bad_json(stand_in: StandIn, path: str, body: Any, sentence: str) -> None:
    answer = await stand_in.request("POST", path, json=body)
    assert answer.status_code == 400
    assert sentence in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"not json", "The body is not JSON."),
        (b"RIFFnothing", "The body is not a WAV file"),
        (wav_bytes(tone([500], 0.1, -20))[:40], "The body is not a WAV file"),
        (eight_bit(), "The WAV file has 8 bits per sample; 16 are needed."),
        (wav_bytes(tone([500], 0.0, -20)), "The WAV file is empty."),
        (wav_bytes(tone([500], 1.0, -20), sample_rate_hz=1000), "outside 4000 to 192000 Hz"),
    ],
)
async def test_bad_sound(stand_in: StandIn, body: bytes, sentence: str) -> None:
    answer = await stand_in.request("POST", "/say", content=body)
    assert answer.status_code == 400
    assert sentence in answer.json()["error"]


@pytest.mark.parametrize("seconds", ["x", "0", "-1", "nan", "601"])
async def test_bad_length_to_hear(stand_in: StandIn, seconds: str) -> None:
    answer = await stand_in.request("GET", f"/heard.wav?seconds={seconds}")
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/answer", "That needs an outgoing call that is ringing; there is no call."),
        ("/reject", "That needs an outgoing call that is calling or ringing; there is no call."),
        ("/elsewhere", "That needs an incoming call that is ringing; there is no call."),
        ("/hangup", "There is no call."),
    ],
)
async def test_not_now(stand_in: StandIn, path: str, sentence: str) -> None:
    answer = await stand_in.request("POST", path)
    assert (answer.status_code, answer.json()["error"]) == (409, sentence)


async def test_without_a_page_nobody_rings_and_silence_is_heard() -> None:
    async with StandIn() as alone:
        answer = await alone.request("POST", "/ring", json={"from": "+49 (1512) 345-6789"})
        assert (answer.status_code, answer.json()["error"]) == (409, "No page is connected.")
        heard = await alone.heard(2.5)
        assert len(heard) == 40_000
        assert not heard.any()


async def test_it_ends_with_the_process_that_held_its_input() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.standin", "--control-port", "0", "--end-with-stdin",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdin is not None
    assert await asyncio.wait_for(process.stdout.readline(), 20)
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_it_ends_by_signal_and_gives_its_ports_back() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.standin", "--https-port", "0", "--control-port", "0",
        stdout=asyncio.subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        ready = json.loads(await asyncio.wait_for(process.stdout.readline(), 20))
        assert (
            ready["chromium_flags"][0] == f"--host-resolver-rules=MAP web.whatsapp.com 127.0.0.1:{ready['https_port']}"
        )
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
        with pytest.raises(httpx2.ConnectError):
            async with httpx2.AsyncClient() as client:
                await client.get(f"{ready['control_url']}/state")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_taken_port_is_named(stand_in: StandIn) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.standin", "--control-port", str(stand_in.ports.control),
        stderr=asyncio.subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    _, words = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 1
    assert (
        f"The stand-in cannot listen on 127.0.0.1:{stand_in.ports.control}: Address already in use." in words.decode()
    )
