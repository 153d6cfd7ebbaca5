"""The dashboard of a real gateway in a real Chromium: signing in, what is broken, configuration, webhooks, accounts."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx2
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from gateway.api.dashboard.build import build
from tests.support.dashboard import PHONE_SIZE, Dashboard, Gateway, browser, dashboard, gateway_alone
from tests.support.hook_receiver import Receiver, receiving
from tests.support.ports import LOOPBACK, free_ports

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180), pytest.mark.asyncio(loop_scope="module")]

ACCOUNT_VIEWS = ("/overview", "/pairing", "/configuration", "/webhooks")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Gateway, Browser]]:
    """One service and one browser for all tests here; each test has an account and tabs of its own."""
    build()  # `.ci/install` did it; where that was not run yet, it is done now
    folder = tmp_path_factory.mktemp("dashboard")
    async with gateway_alone(folder, {"PONTE_WEBHOOK_ALLOW_HOSTS": "127.0.0.0/8"}) as gateway, browser() as started:
        yield gateway, started


@dataclass(frozen=True, slots=True)
class Place:
    """What one test has: the service, the browser, and an account that nobody has configured."""

    url: str
    admin_key: str
    key: str
    account: str
    sip_port: int
    browser: Browser


@pytest_asyncio.fixture(loop_scope="module")
async def place(world: tuple[Gateway, Browser], request: pytest.FixtureRequest) -> Place:
    gateway, started = world
    name = request.node.name.removeprefix("test_")
    async with client(gateway.url, gateway.admin_key) as admin:
        made = await admin.post("/accounts", json={"name": name})
    assert made.status_code == 201, made.text
    return Place(gateway.url, gateway.admin_key, made.json()["key"]["key"], name, free_ports(1), started)


def client(url: str, key: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=20)


async def test_a_person_signs_in_sees_what_is_broken_and_configures(place: Place) -> None:
    async with dashboard(place.browser, place.url) as tab:
        page = tab.page
        await page.goto(place.url)
        await page.get_by_label("API key").fill("wrong")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("not known")
        await tab.check_access("sign-in")
        await tab.sign_in(place.key)

        await _overview(tab, place)
        await _configuration(tab, place)
        await _keyboard(page)

        # the key is in this tab's storage only, and signing out takes it away
        assert await page.evaluate("[document.cookie, JSON.stringify(localStorage).includes('ponte_')]") == ["", False]
        assert place.key not in page.url
        await page.reload()
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_label("API key")).to_be_visible()
        assert await page.evaluate("sessionStorage.length") == 0
        tab.check_traffic()


async def _overview(tab: Dashboard, place: Place) -> None:
    page = tab.page
    await expect(page.get_by_text("The bridge is switched off.")).to_be_visible()
    await expect(page.get_by_text("live", exact=True)).to_be_visible(timeout=20_000)
    # switched on by somebody else: the picture follows by itself, and names what is broken and what mends it
    async with client(place.url, place.key) as http:
        answer = await http.post(
            "/call/bridge/config",
            json={
                "enabled": True, "sipServer": f"{LOOPBACK}:{free_ports(1)}", "sipListenPort": place.sip_port,
                "chromeRemoteURL": f"ws://{LOOPBACK}:{free_ports(1)}",
            },
        )  # fmt: skip
        assert answer.status_code == 200, answer.text
    chrome = page.locator("[data-spot=chrome]")
    await expect(chrome).to_have_attribute("data-mood", "bad", timeout=20_000)
    await expect(chrome).to_contain_text("not reached")
    await expect(chrome).to_contain_text("The path is broken here")
    await expect(page.locator("[data-spot=media]")).to_have_attribute("data-mood", "off")
    await expect(page.get_by_role("alert")).to_contain_text("Check that Chrome or the helper runs")
    await expect(page.locator(".link.cut")).to_have_count(1)
    await tab.check_access("overview, broken")


async def _configuration(tab: Dashboard, place: Place) -> None:
    page = tab.page
    await page.get_by_role("alert").get_by_role("link").click()
    await expect(page.get_by_role("heading", level=1, name="Configuration")).to_be_focused()
    port = page.get_by_label("Port", exact=True)
    await expect(port).to_have_value(str(place.sip_port))
    # what the gateway refuses is told at the field, and nothing was changed
    await port.fill("70000")
    await page.get_by_label("SIP user", exact=True).fill("a<b")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("Nothing was changed: see the marked fields.")).to_be_visible()
    await expect(page.locator("[aria-invalid=true]")).to_have_count(2)
    await expect(page.get_by_label("SIP user", exact=True)).to_be_focused()
    description = await port.get_attribute("aria-describedby")
    assert description
    fault = page.locator(f"[id='{description.split()[-1]}']")
    await expect(fault).to_contain_text("65535")
    await tab.check_access("configuration, refused")
    # a secret is stored, never shown, and stays when something else is changed
    await port.fill(str(place.sip_port))
    await page.get_by_label("SIP user", exact=True).fill("trunk")
    await page.get_by_label("SIP password").fill("a long secret")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("Saved, and in force.")).to_be_visible()
    await expect(page.get_by_label("SIP password", exact=True)).to_have_value("")
    await expect(page.get_by_label("SIP password: remove the stored one")).to_be_visible()
    await page.get_by_label("Extension").fill("6001")
    await expect(page.get_by_text("There are changes")).to_be_visible()
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("There are changes")).to_have_count(0)
    async with client(place.url, place.key) as http:
        stored = (await http.get("/call/bridge/config")).json()
    assert (stored["sipPass"], stored["sipExtension"], stored["sipUser"]) == ("***", "6001", "trunk")
    assert "a long secret" not in await page.content()
    # the test says which part does not answer, and stores nothing
    await page.get_by_label("Extension").fill("6002")
    await page.get_by_role("button", name="Test without saving").click()
    await expect(page.get_by_text("Not everything is well:")).to_be_visible(timeout=60_000)
    check = page.get_by_test_id("checks").locator("li").filter(has=page.get_by_text("chrome", exact=True))
    await expect(check).to_contain_text("fault")
    async with client(place.url, place.key) as http:
        assert (await http.get("/call/bridge/config")).json()["sipExtension"] == "6001"
    await tab.check_access("configuration, tested")


async def _keyboard(page: Page) -> None:
    """From the top of a view to another one without a mouse."""
    await page.reload()
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await page.get_by_role("link", name="Webhooks").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1, name="Webhooks")).to_be_focused()


async def test_webhooks_are_made_and_their_log_is_read(place: Place) -> None:
    receiver = Receiver(status=500)
    async with receiving(receiver), dashboard(place.browser, place.url) as tab:
        page = tab.page
        await tab.sign_in(place.key)
        await tab.go("/webhooks")
        await page.get_by_label("URL").fill("ftp://example.com/")
        await page.get_by_role("button", name="Create").click()
        await expect(page.get_by_label("URL")).to_have_attribute("aria-invalid", "true")
        await page.get_by_label("URL").fill(receiver.url)
        await page.get_by_label("account.state").check()
        await page.get_by_role("button", name="Create").click()
        secret = await page.get_by_label("Secret for checking signatures").input_value()
        assert secret.startswith("whsec_")
        await tab.check_access("webhooks, created")
        async with client(place.url, place.key) as http:
            await http.post("/call/bridge/config", json={"enabled": True, "sipListenPort": place.sip_port})
        await receiver.wait(1)
        assert receiver.got[0].signed_by(secret)

        await page.get_by_role("row").get_by_role("link", name=receiver.url).click()
        await expect(page.get_by_text(secret)).to_have_count(0)
        row = page.get_by_role("row").filter(has_text="account.state")
        await expect(row).to_contain_text("waiting", timeout=20_000)
        await row.locator("td summary").click()
        await expect(row).to_contain_text("500")
        await tab.check_access("webhook, failing")
        # sent again by hand, now that it answers
        receiver.status = 204
        before = len(receiver.got)
        await row.get_by_role("button", name=re.compile("Send again: evt_")).click()
        await receiver.wait(before + 1)
        await expect(row).to_contain_text("delivered", timeout=20_000)

        await page.get_by_role("button", name="New secret").click()
        rotated = await page.get_by_label("Secret for checking signatures").input_value()
        assert rotated != secret
        await page.get_by_role("button", name="Switch off").click()
        await expect(page.get_by_role("button", name="Switch on")).to_be_visible()
        # what cannot be undone is asked once more, and Escape means no
        await page.get_by_role("button", name="Delete").click()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("button", name="Delete")).to_be_focused()
        await page.keyboard.press("Enter")
        await page.get_by_role("group").get_by_role("button", name="Delete").click()
        await expect(page.get_by_text("There is none yet")).to_be_visible()
        tab.check_traffic()


async def test_every_view_in_both_languages_on_a_phones_screen(place: Place) -> None:
    async with client(place.url, place.key) as http:
        for number in range(2):
            made = await http.post("/webhooks", json={"url": f"https://example.com/{'long-path-' * 20}{number}"})
            assert made.status_code == 201, made.text
        hook = (await http.get("/webhooks")).json()["webhooks"][0]["id"]
    words = {"en-US": ("API key", "Sign in", "Overview"), "pt-BR": ("Chave da API", "Entrar", "Visão geral")}
    for language, (label, button, first) in words.items():
        dark = language == "pt-BR"
        async with dashboard(place.browser, place.url, language=language, size=PHONE_SIZE, dark=dark) as tab:
            await tab.page.goto(place.url)
            await expect(tab.page.get_by_label(label)).to_be_visible()
            assert await tab.page.evaluate("document.documentElement.lang") == language.removesuffix("-US")
            await tab.check_access(f"sign-in {language}")
            await tab.sign_in(place.key, label=label, button=button)
            await expect(tab.page.get_by_role("heading", level=1, name=first)).to_be_visible()
            for path in (*ACCOUNT_VIEWS, f"/webhooks/{hook}", "/nothing"):
                await tab.go(path)
                await tab.check_access(f"{path} {language}")
            await tab.page.get_by_role("button", name="Menu").click()
            await tab.check_access(f"menu {language}")
            tab.check_traffic()
        async with dashboard(place.browser, place.url, language=language, size=PHONE_SIZE) as tab:
            await tab.sign_in(place.admin_key, label=label, button=button)
            for path in ("/accounts", f"/accounts/{place.account}"):
                await tab.go(path)
                await tab.check_access(f"{path} {language}")
            tab.check_traffic()


async def test_an_admin_makes_an_account_and_a_key_that_is_revoked_signs_out(place: Place) -> None:
    async with dashboard(place.browser, place.url) as admin, dashboard(place.browser, place.url) as tab:
        page = admin.page
        await admin.sign_in(place.admin_key)
        await page.get_by_label("Name").fill(place.account)
        await page.get_by_role("button", name="Create").click()
        await expect(page.get_by_role("alert")).to_be_visible()
        await page.get_by_label("Name").fill("second")
        await page.get_by_role("button", name="Create").click()
        key = await page.get_by_label("API key of second").input_value()
        # the language is chosen by hand, and is kept
        await tab.sign_in(key)
        await tab.page.get_by_label("Language").select_option("pt-BR")
        await expect(tab.page.get_by_role("heading", level=1)).to_have_text("Visão geral")
        await tab.page.reload()
        await expect(tab.page.get_by_role("heading", level=1)).to_have_text("Visão geral")

        await page.get_by_role("link", name="second").click()
        await page.get_by_role("button", name="Revoke").click()
        await page.get_by_role("group").get_by_role("button", name="Revoke").click()
        await expect(page.get_by_role("button", name="Revoke")).to_have_count(0)
        await tab.page.evaluate("location.hash = '#/webhooks'")
        await expect(tab.page.get_by_text("a chave não vale mais")).to_be_visible(timeout=20_000)
        await page.get_by_role("button", name="Remove").click()
        await page.get_by_role("group").get_by_role("button", name="Remove").click()
        await expect(page.get_by_role("link", name="second")).to_have_count(0, timeout=20_000)
        await expect(page.get_by_role("link", name=place.account)).to_be_visible()
        admin.check_traffic()
        tab.check_traffic()
