"""Every URL form of docs/ARCHITECTURE.md section 1 against a real Chromium, and every way in which it can fail."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.browser import (
    AddressNotAllowed,
    AllowList,
    BrowserSettings,
    ChromeUnauthorized,
    ChromeUnreachable,
    ConnectionLost,
    HttpSettings,
    PageGone,
    chrome_version,
    connect_cdp,
    list_pages,
    parse_browser_url,
)
from gateway.browser.errors import CdpError
from gateway.domain.errors import PeerTimeout
from tests.integration.browser.site import Reply, serve, tls, until
from tests.support.chromium import ChromiumProcess, chromium
from tests.support.ports import free_ports

pytestmark = pytest.mark.integration

QUICK = HttpSettings(connect_timeout_s=1, timeout_s=1)


async def product(url: str, settings: HttpSettings | None = None) -> str:
    """Connect, ask over the websocket, and give what Chrome says it is."""
    async with connect_cdp(parse_browser_url(url), BrowserSettings(http=settings or HttpSettings())) as cdp:
        return str((await cdp.send("Browser.getVersion"))["product"])


@contextlib.asynccontextmanager
async def forwarder(target: ChromiumProcess, context: ssl.SSLContext | None, host: str) -> AsyncIterator[int]:
    """Pass bytes on to Chromium, as the relay or TLS terminator before a remote Chrome does."""
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(target.host, target.port)
            await asyncio.gather(pump(reader, upstream_writer), pump(upstream_reader, writer))
        except (asyncio.CancelledError, OSError):
            writer.transport.abort()
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(handle, host, 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_every_form_of_the_url_reaches_chrome(tmp_path: Path) -> None:
    async with chromium() as browser:
        port = browser.port
        for url in (
            f"ws://127.0.0.1:{port}",
            f"http://127.0.0.1:{port}/",
            f"ws://127.0.0.1:{port}/devtools/browser/00000000-0000-0000-0000-000000000000",  # of an earlier Chrome
            f"http://127.0.0.1:{port}/json/version",
            f"ws://localhost:{port}",  # a name: Chrome is asked by its address
            f"ws://ignored:by-chrome@127.0.0.1:{port}",
        ):
            assert (await product(url)).startswith("Chrome/"), url
        async with forwarder(browser, None, "::1") as v6_port:
            assert (await product(f"ws://[::1]:{v6_port}")).startswith("Chrome/")
        context = tls(tmp_path, "localhost")
        trusting = HttpSettings(ca_file=str(tmp_path / "certificate.pem"))
        async with forwarder(browser, context, "127.0.0.1") as tls_port:
            for scheme in ("wss", "https"):
                assert (await product(f"{scheme}://localhost:{tls_port}", trusting)).startswith("Chrome/")
            with pytest.raises(ChromeUnreachable, match="certificate that is not trusted"):
                await product(f"wss://localhost:{tls_port}")


async def test_a_name_with_several_addresses_is_tried_at_each(monkeypatch: pytest.MonkeyPatch) -> None:
    # As /etc/hosts gives "localhost": ::1 first, where Chrome does not listen. 8.8.8.8 is dropped by the allow-list.
    async def addresses(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        assert host == "two.test"
        return [(0, 1, 6, "", (address, port)) for address in ("8.8.8.8", "::1", "127.0.0.1")]

    async with chromium() as browser:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", addresses)
        for url in (f"ws://two.test:{browser.port}", f"ws://:token@two.test:{browser.port}"):
            assert (await product(url)).startswith("Chrome/")
        with pytest.raises(ChromeUnreachable, match=r"Nothing listens at two\.test"):
            await product(f"ws://two.test:{free_ports()}")


async def test_pages_are_listed_by_pychrome_and_without_it() -> None:
    page = "data:text/html,one"
    async with chromium(url=page) as browser:
        plain, with_token = parse_browser_url(browser.ws_url), parse_browser_url(f"ws://:t@127.0.0.1:{browser.port}")

        async def listed() -> bool:
            by_pychrome, by_us = await list_pages(plain, QUICK), await list_pages(with_token, QUICK)
            # Chrome's own windows are left out.
            return [info.url for info in by_pychrome] == [info.url for info in by_us] == [page]

        await until(listed)
        assert await chrome_version(plain, QUICK) == await chrome_version(with_token, QUICK)


async def test_what_is_not_chrome_is_said_so() -> None:
    free = free_ports()
    with pytest.raises(ChromeUnreachable, match=f"Nothing listens at 127.0.0.1:{free} .*start it there"):
        await product(f"ws://127.0.0.1:{free}")
    for reply, words in (
        (Reply(b"<html>", "text/html"), "not Chrome's debugging port"),
        (Reply(status=404), "HTTP 404, but is not Chrome's debugging port"),
        (Reply(b'{"Browser": "x"}', "application/json"), "names no browser websocket"),
        (Reply(b'{"webSocketDebuggerUrl": "ws://x/../../etc"}', "application/json"), "names no browser websocket"),
        (Reply(b"[1]", "application/json"), "names no browser websocket"),
        (Reply(status=503), "Chrome behind it is not running yet"),
        (Reply(b"Host header is specified and is not an IP address or localhost.", status=500), "give its IP address"),
        (Reply(b"x" * 5_000_000), "more than"),
    ):
        async with serve({"/json/version": reply}) as server:
            with pytest.raises(ChromeUnreachable, match=words):
                await product(f"http://127.0.0.1:{server.port}")
    version = b'{"webSocketDebuggerUrl": "ws://x/devtools/browser/1"}'
    async with serve({"/json/version": Reply(version), "/devtools/browser/1": Reply(b"no")}) as server:
        with pytest.raises(ChromeUnreachable, match="refused the websocket"):
            await product(f"http://127.0.0.1:{server.port}")
        with pytest.raises(ChromeUnreachable, match="does not speak TLS"):
            await product(f"wss://127.0.0.1:{server.port}")


async def test_a_server_that_does_not_answer_or_hangs_up() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.close()

    for handler, words in ((hang, "did not answer within 1 s"), (hang_up, "without an HTTP answer")):
        async with await asyncio.start_server(handler, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            # The token keeps it to one try: pychrome would take another second.
            with pytest.raises(ChromeUnreachable, match=words):
                await product(f"ws://:t@127.0.0.1:{port}", QUICK)


async def test_a_token_that_is_missing_or_wrong() -> None:
    async with serve({"/json/version": Reply(status=401)}) as server:
        with pytest.raises(ChromeUnauthorized, match=r"wants a token .*ws://:TOKEN@"):
            await product(f"ws://127.0.0.1:{server.port}")
        with pytest.raises(ChromeUnauthorized, match="wants another token") as caught:
            await product(f"ws://:s3cret@127.0.0.1:{server.port}")
        assert "s3cret" not in str(caught.value)
        assert server.requests[-1][1]["authorization"] == "Bearer s3cret"
        assert "origin" not in server.requests[-1][1]


async def test_redirects_are_not_followed() -> None:
    async with serve({}) as inner:
        away = Reply(status=302, headers={"Location": f"http://127.0.0.1:{inner.port}/json/version"})
        async with serve({"/json/version": away}) as server:
            with pytest.raises(ChromeUnreachable, match="HTTP 302"):
                await product(f"ws://:t@127.0.0.1:{server.port}")
        assert inner.requests == []


async def test_addresses_outside_of_the_allow_list_are_never_connected_to() -> None:
    for url in ("ws://169.254.169.254", "ws://[fe80::1]:9222", "ws://[::ffff:169.254.169.254]:80", "ws://203.0.113.9"):
        with pytest.raises(AddressNotAllowed):
            await product(url, HttpSettings(allow=AllowList.parse(["169.254.0.0/16", "::/0"])))


async def test_commands_fail_clearly() -> None:
    async with (
        chromium() as browser,
        connect_cdp(parse_browser_url(browser.ws_url), BrowserSettings(max_message_bytes=4_000_000)) as cdp,
    ):
        with pytest.raises(CdpError, match=r"Chrome refused No\.such"):
            await cdp.send("No.such")
        target = (await cdp.send("Target.createTarget", {"url": "about:blank"}))["targetId"]
        session = (await cdp.send("Target.attachToTarget", {"targetId": target, "flatten": True}))["sessionId"]
        with pytest.raises(PageGone, match=r"closed before Page\.enable"):
            await cdp.send("Page.enable", session_id="0123456789ABCDEF")
        with pytest.raises(PeerTimeout, match=r"did not answer Runtime.evaluate within 0.2 s"):
            await cdp.send(
                "Runtime.evaluate", {"expression": "new Promise(() => {})", "awaitPromise": True},
                session_id=session, timeout_s=0.2,
            )  # fmt: skip
        large = {"expression": "'x'.repeat(3000000)", "returnByValue": True}
        answer = await cdp.send("Runtime.evaluate", large, session_id=session)
        assert len(answer["result"]["value"]) == 3_000_000

        # A handler that fails or is slow harms nobody else.
        seen: list[str] = []
        cdp.on("Target.targetCreated", lambda params, session_id: params["no such key"])
        unsubscribe = cdp.on(
            "Target.targetCreated", lambda params, session_id: seen.append(params["targetInfo"]["type"])
        )
        await cdp.send("Target.setDiscoverTargets", {"discover": True})
        assert "page" in seen
        unsubscribe()
        unsubscribe()

        waiting = asyncio.gather(
            *(
                cdp.send("Runtime.evaluate", {"expression": "new Promise(() => {})", "awaitPromise": True},
                         session_id=session, timeout_s=30)
                for _ in range(3)
            ),
            return_exceptions=True,
        )  # fmt: skip
        closed: list[str] = []
        cdp.on_close(closed.append)
        await asyncio.sleep(0.05)
        browser.kill()
        async with asyncio.timeout(2):
            failures = await waiting
            await cdp.closed.wait()
        assert [type(failure) for failure in failures] == [ConnectionLost] * 3
        assert closed == [cdp.reason]
        with pytest.raises(ConnectionLost):
            await cdp.send("Browser.getVersion")


async def test_a_message_over_the_bound_closes_the_connection() -> None:
    async with (
        chromium() as browser,
        connect_cdp(parse_browser_url(browser.ws_url), BrowserSettings(max_message_bytes=100_000)) as cdp,
    ):
        target = (await cdp.send("Target.createTarget", {"url": "about:blank"}))["targetId"]
        session = (await cdp.send("Target.attachToTarget", {"targetId": target, "flatten": True}))["sessionId"]
        large = {"expression": "'x'.repeat(3000000)", "returnByValue": True}
        with pytest.raises(ConnectionLost, match="larger than the gateway takes"):
            await cdp.send("Runtime.evaluate", large, session_id=session)


async def test_work_that_a_connection_owns_is_bounded_and_ends_with_it() -> None:
    ended: list[str] = []

    async def work(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    async def fail() -> None:
        raise ValueError("one answer went wrong")

    async with chromium() as browser:
        async with connect_cdp(parse_browser_url(browser.ws_url), BrowserSettings()) as cdp:
            for index in range(300):
                cdp.spawn(work(str(index)), "work")
            await asyncio.sleep(0)
            cdp.spawn(fail(), "over the bound")
            await cdp.send("Browser.getVersion")
        assert len(ended) == 256
        async with connect_cdp(parse_browser_url(browser.ws_url), BrowserSettings()) as cdp:
            cdp.spawn(fail(), "fail")
            await cdp.send("Browser.getVersion")  # nobody else was harmed
            cdp.spawn(work("cancelled before its first step"), "work")
        cdp.spawn(work("never"), "after the end")
        assert len(ended) == 256
