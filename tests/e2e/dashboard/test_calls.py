"""Calls in the dashboard, through everything: seen live, ended, heard, read as a ladder; and a phone in the page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from gateway.api.dashboard.build import build
from tests.demo.call import CALLEE, CALLER
from tests.demo.world import Ports, World, WorldOptions, world
from tests.support.audio import level_dbfs, sine, write_wav
from tests.support.baresip import SAMPLE_RATE_HZ
from tests.support.dashboard_browser import WAIT_MS, Dashboard, Opener, dashboards
from tests.support.ports import LOOPBACK, free_ports

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(150)]

FAR_RATE_HZ = 16_000
USER, PASSWORD = "alice", "a long secret"


@dataclass(frozen=True, slots=True)
class House:
    """Everything that takes part."""

    world: World
    browser: Opener
    http: httpx2.AsyncClient
    socket_url: str


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    build()
    ws = free_ports(1)
    folder: Path = tmp_path_factory.mktemp("dashboard")
    options = WorldOptions(folder, Ports.free(), tap=False, environment={"PONTE_SIP_WS_PORT": str(ws)})
    url = f"http://{LOOPBACK}:{options.ports.api}"
    async with (
        world(options, print) as here,
        dashboards(f"{url}/") as browser,
        httpx2.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {here.key}"}, timeout=20) as http,
    ):
        yield House(here, browser, http, f"ws://{LOOPBACK}:{ws}")


async def _call(here: House) -> str:
    """A call of the phone with WhatsApp, a tone in it from each side; its id."""
    tone = here.world.phone.source.with_name("tone.wav")
    write_wav(tone, sine(440, -18, 60, SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
    here.world.phone.play(tone)
    answer = await here.http.post("/call/offer", json={"number": CALLEE, "extension": "1000"})
    assert answer.status_code == 202, answer.text
    await _far_end(here, "ringing")
    await here.world.far_end.say(sine(1000, -18, 30, FAR_RATE_HZ), FAR_RATE_HZ)
    await here.world.far_end.answer()
    call_id: str = answer.json()["id"]
    return call_id


async def _far_end(here: House, state: str | None) -> None:
    await here.world.far_end.wait_for(
        lambda told: told["call"] is None if state is None else bool(told["call"]) and told["call"]["state"] == state,
        what=f"call {state}",
        timeout_s=20,
    )


async def test_a_call_is_seen_ended_heard_and_read(house: House) -> None:
    here = house.world
    await here.configure(await here.configuration())
    await here.wait_ready(print)
    english = await house.browser.open()
    await english.sign_in(here.key)
    await english.go("/live")
    page = english.page
    await expect(page.get_by_text("No call is in progress.")).to_be_visible()
    await english.is_sound()

    call_id = await _call(house)
    card = page.locator("main section.card")
    await expect(card.get_by_text("active", exact=True)).to_be_visible(timeout=WAIT_MS)
    await expect(card.get_by_role("heading", name=CALLEE)).to_contain_text("1000")
    for way in ("WhatsApp to phone", "Phone to WhatsApp"):
        meter = page.get_by_role("region", name=way).get_by_role("meter")
        await expect(meter).to_have_attribute("aria-valuetext", "-18 dBFS", timeout=WAIT_MS)
        await expect(page.get_by_role("region", name=way).locator(".hop.well").first).to_be_visible()
    await card.get_by_role("button", name="Record", exact=True).click()
    await expect(card.get_by_text("recording", exact=True)).to_be_visible()
    await card.get_by_role("button", name="Mute the phone", exact=True).click()
    await expect(card.get_by_text("phone muted")).to_be_visible()
    await card.get_by_role("button", name="Unmute the phone").click()
    await expect(card.get_by_text("phone muted")).to_have_count(0)
    await card.get_by_role("button", name="Hold").click()
    await expect(card.get_by_text("on hold")).to_be_visible()
    await card.get_by_role("button", name="Resume").click()
    await card.get_by_label("Keys to WhatsApp").fill("12x")
    await card.get_by_role("button", name="Send").click()
    await expect(card.get_by_role("alert")).to_contain_text("The gateway refused")
    english.said.clear()  # Chromium writes each 400 into its console
    await card.get_by_label("Keys to WhatsApp").fill("12#")
    await card.get_by_role("button", name="Send").click()
    await expect(card.get_by_text("Keys on their way: 3")).to_be_visible()
    await english.is_sound()
    await asyncio.sleep(2)  # of sound, for the recording
    await card.get_by_role("button", name="Hang up").click()
    await _far_end(house, None)
    await expect(page.get_by_text("A call ended: hung up")).to_be_visible(timeout=WAIT_MS)
    await expect(card).to_have_count(0)

    await page.get_by_role("link", name="its record").click()
    await expect(page).to_have_url(f"{english.url}#/calls/{call_id}")
    await _record_is_heard(page)
    await _ladder_is_read(page)
    await english.is_sound()
    await _records_are_found(house, english)


async def _record_is_heard(page: Page) -> None:
    wave = page.get_by_role("slider", name="Position in the recording")
    await expect(wave).to_be_visible(timeout=WAIT_MS)
    await expect(page.locator(".wave-names")).to_have_text("WhatsAppPhone")
    # both tones fill their halves: columns of ink far above the line that silence is
    inked = await page.locator(".wave canvas").evaluate(
        """async (canvas) => {
            await new Promise(requestAnimationFrame);
            const {width, height} = canvas;
            const {data} = canvas.getContext('2d').getImageData(0, 0, width, height);
            const ink = (x, y) => data[(y * width + x) * 4 + 3] > 0;
            return [0, 1].map((half) => {
                const begin = Math.floor(half * height / 2), end = Math.floor((half + 1) * height / 2);
                let loud = 0;
                for (let x = 0; x < width; x++) {
                    let inked = 0;
                    for (let y = begin; y < end; y++) inked += ink(x, y);
                    loud += inked > height / 8;
                }
                return loud / width;
            });
        }"""
    )
    assert min(inked) > 0.3, inked
    await wave.focus()
    await page.keyboard.press("End")
    await page.keyboard.press("Home")
    await expect(wave).to_have_attribute("aria-valuenow", "0")
    audio = page.locator("audio")
    await audio.evaluate("audio => audio.play()")
    deadline = time.monotonic() + 20
    while await audio.evaluate("audio => audio.currentTime") < 0.3:
        assert time.monotonic() < deadline, await audio.evaluate("audio => audio.error?.message ?? 'does not play'")
        await asyncio.sleep(0.05)
    await audio.evaluate("audio => audio.pause()")
    await expect(page.get_by_role("region", name="Quality")).to_contain_text("MOS")


async def _ladder_is_read(page: Page) -> None:
    ladder = page.get_by_role("list", name="Call ladder")
    await expect(ladder).to_be_visible(timeout=WAIT_MS)
    lines = [" ".join(line.split()) for line in await ladder.locator("li").all_inner_texts()]
    texts = await ladder.locator("li").all_text_contents()
    for wanted in (
        "SIP, from Ponte to PBX: INVITE",
        "SIP, from PBX to Ponte: 200",
        "SIP, from Ponte to PBX: BYE",
        "Page, from Ponte to Page: ",
        "Page, from Page to Ponte: ",
        "Call, at Ponte: ACTIVE",
    ):
        assert any(wanted in text for text in texts), (wanted, lines)
    times = [float(text) for text in await ladder.locator(".rung-time").all_inner_texts()]
    assert times == sorted(times)
    assert await ladder.locator(".head").count() >= 4


async def _records_are_found(house: House, english: Dashboard) -> None:
    page = english.page
    await english.go("/calls")
    rows = page.locator("tbody tr")
    await expect(rows).to_have_count(1, timeout=WAIT_MS)
    await expect(rows).to_contain_text("complete")
    await page.get_by_label("WhatsApp number").fill("+55 11 90000-0000")
    await page.get_by_role("button", name="Search").click()
    await expect(page.get_by_text("No call matches.")).to_be_visible()
    await page.get_by_role("button", name="Show all").click()
    await expect(rows).to_have_count(1)
    async with page.expect_download() as waiting:
        await page.get_by_role("button", name="Download as CSV").click()
    text = (await (await waiting.value).path()).read_text()
    assert CALLEE.lstrip("+") in text
    await english.is_sound()

    portuguese = await house.browser.open("pt-BR")
    await portuguese.sign_in(house.world.key)
    await portuguese.go("/calls")
    await expect(portuguese.page.get_by_role("heading", name="Registro de chamadas")).to_be_visible()
    await portuguese.page.locator("tbody a").click()
    await expect(portuguese.page.get_by_role("heading", name="Diagrama da chamada")).to_be_visible()
    await expect(portuguese.page.locator(".wave canvas")).to_be_visible(timeout=WAIT_MS)
    await portuguese.is_sound()


async def test_the_phone_in_the_page_calls_and_is_rung(house: House) -> None:
    here = house.world
    await here.configure(
        {
            **await here.configuration(),
            "sipServer": "", "sipUser": "", "sipPass": "", "sipListenUser": USER, "sipListenSecret": PASSWORD,
        }
    )  # fmt: skip
    await _parts(here, page="READY", media="connected", listener="listening")
    desk = await house.browser.open("pt-BR")
    await desk.sign_in(here.key)
    await desk.go("/phone")
    page = desk.page
    url, password = page.get_by_label("Endereço do WebSocket SIP"), page.get_by_label("Senha")
    connect = page.get_by_role("button", name="Conectar")
    await expect(page.get_by_label("Usuário")).to_have_value(USER)
    await url.fill("ws://192.0.2.1:8088")
    await connect.click()
    await expect(page.get_by_text("só funciona para o host desta página")).to_be_visible()
    await desk.is_sound()
    await url.fill(house.socket_url)
    await password.fill("wrong")
    await connect.click()
    await expect(page.get_by_text("Usuário ou senha errados.")).to_be_visible()
    await password.fill(PASSWORD)
    await connect.click()
    await expect(page.get_by_text("registrada", exact=True)).to_be_visible()
    await _parts(here, phones="registered")

    await page.get_by_label("Número").fill("+55 11 97777-6666")
    await page.get_by_role("button", name="Chamar").click()
    await _far_end(house, "ringing")
    await expect(page.get_by_text("tocando lá")).to_be_visible()
    await here.far_end.answer()
    await expect(page.get_by_text("em chamada", exact=True)).to_be_visible()
    await _person_hears(here)  # the beeps of Chromium's microphone
    await page.get_by_role("button", name="#", exact=True).click()
    await desk.is_sound()
    await page.get_by_role("button", name="Desligar").click()
    await _far_end(house, None)
    await expect(page.get_by_label("Número")).to_be_visible()

    # rung while another view is looked at
    await desk.go("/live")
    await here.far_end.ring(CALLER, name="Maria")
    await expect(page.get_by_text(f"Chamada recebida: Maria ({CALLER.lstrip('+')})")).to_be_visible()
    await desk.is_sound()
    await page.get_by_role("button", name="Atender").click()
    await _far_end(house, "active")
    await expect(page.locator("main section.card").get_by_text("ativa", exact=True)).to_be_visible()
    await here.far_end.hang_up()
    await expect(page.get_by_text("Uma chamada terminou: desligada")).to_be_visible(timeout=WAIT_MS)
    await desk.go("/phone")
    await page.get_by_role("button", name="Desconectar").click()
    await _parts(here, phones="none")
    assert desk.said == []


async def _parts(here: World, **wanted: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        state = (await here.status())["state"]
        if all(state[name]["state"] == value for name, value in wanted.items()):
            return
        assert time.monotonic() < deadline, state
        await asyncio.sleep(0.1)


async def _person_hears(here: World) -> None:
    deadline = time.monotonic() + 20
    while True:
        samples, _ = await here.far_end.heard(2)  # Chromium beeps once a second
        if level_dbfs(samples) > -50:
            return
        assert time.monotonic() < deadline, level_dbfs(samples)
        await asyncio.sleep(0.1)
