"""Small HTTP servers for these tests: a page as strict as WhatsApp Web's, and a wasm server with a tiny bundle."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.browser import Assets
from gateway.browser.assets import Asset
from tests.standin.certificate import write_certificate

HOST = "web.whatsapp.com"
URL = f"https://{HOST}/"

STRICT = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'nonce-n1' 'wasm-unsafe-eval'; connect-src 'self'; worker-src 'self'; "
        "frame-src 'self'; require-trusted-types-for 'script'; trusted-types own"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
PAGE = """<!doctype html><title>strict</title><script nonce="n1">
globalThis.seenAtStart = typeof globalThis.__ponte;
globalThis.gum = navigator.mediaDevices.getUserMedia;
const own = trustedTypes.createPolicy("own", {createScriptURL: (url) => url});
globalThis.workerReady = navigator.serviceWorker.register(own.createScriptURL("/sw.js"))
  .then(() => navigator.serviceWorker.ready)
  .then(() => navigator.serviceWorker.controller || new Promise((resolve) =>
    navigator.serviceWorker.addEventListener("controllerchange", resolve, {once: true}))).then(() => true);
</script><iframe src="/frame"></iframe>"""
FRAME = """<!doctype html><script nonce="n1">
globalThis.ponteInFrame = typeof globalThis.__ponte;
globalThis.__ponteEmit?.(JSON.stringify({type: "spoofed"}));
</script>"""
WORKER = """self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("message", ({ports: [port]}) =>
  fetch("/asked").then(() => port.postMessage(navigator.userAgent)));
self.addEventListener("fetch", (event) => event.respondWith(fetch(event.request)));"""
ASK_WORKER = """(async () => {
  await workerReady;
  const {port1, port2} = new MessageChannel();
  const answer = new Promise((resolve) => { port1.onmessage = ({data}) => resolve(data); });
  navigator.serviceWorker.controller.postMessage(null, [port2]);
  return await answer;
})()"""

PAGE_JS = """
(() => {
  if (globalThis.__ponte) { delete globalThis.__ponteConfig; return; }
  const config = globalThis.__ponteConfig;
  delete globalThis.__ponteConfig;
  const emit = (event) => globalThis[config.binding](JSON.stringify(event));
  globalThis.__ponte = {
    probe: async () => ({abi: config.abi, state: "READY", isolated: crossOriginIsolated}),
    echo: async (...args) => args,
    fail: async () => { throw new Error("not_on_whatsapp: no such account"); },
    gesture: async () => navigator.userActivation.isActive,
    compile: async () => (await WebAssembly.compile(Uint8Array.from(atob(config.wasm), (c) => c.charCodeAt(0))))
      instanceof WebAssembly.Module,
    worklet: async () => {
      const context = new AudioContext();
      await context.audioWorklet.addModule(config.workletUrl);
      const node = new AudioWorkletNode(context, "ponte-test");
      return await new Promise((resolve) => { node.port.onmessage = (event) => resolve(event.data); });
    },
    emit: async (event) => { emit(event); },
    answer: async (sdp) => "answer to " + sdp,
    hang: () => new Promise(() => {}),
  };
  emit({type: "page.state", state: "READY", detail: "first"});
})();
"""
WA_JS = "var WPP = {version: 'test'};"
WORKLET_JS = """
registerProcessor("ponte-test", class extends AudioWorkletProcessor {
  constructor() { super(); this.port.postMessage("worklet runs"); }
  process() { return true; }
});
"""
WASM = b"\0asm\x01\0\0\0"  # an empty module, complete as it is


def make_assets(page_js: str = PAGE_JS, wa_js: str = WA_JS) -> Assets:
    def asset(name: str, content: bytes) -> Asset:
        return Asset(name, content, hashlib.sha256(content).hexdigest())

    return Assets(
        1, "0.0.1", "test",
        asset("page.js", page_js.encode()), asset("wa.js", wa_js.encode()),
        asset("worklet.js", WORKLET_JS.encode()), asset("media.wasm", WASM),
    )  # fmt: skip


async def until(check: Callable[[], Awaitable[bool]], timeout_s: float = 10) -> None:
    """Wait for what another process does: there is nothing but to look again."""
    async with asyncio.timeout(timeout_s):
        while not await check():  # noqa: ASYNC110
            await asyncio.sleep(0.03)


@dataclass(slots=True)
class Reply:
    body: bytes = b""
    content_type: str = "text/html"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Server:
    host: str
    port: int
    replies: dict[str, Reply]
    requests: list[tuple[str, dict[str, str]]]


@contextlib.asynccontextmanager
async def serve(
    replies: dict[str, Reply],
    *,
    context: ssl.SSLContext | None = None,
    on_request: Callable[[str, dict[str, str]], Reply | None] | None = None,
    host: str = "127.0.0.1",
) -> AsyncIterator[Server]:
    """Serve fixed replies by path; an unknown path is a 404."""
    requests: list[tuple[str, dict[str, str]]] = []
    writers: set[asyncio.StreamWriter] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        try:
            async with asyncio.timeout(10):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            path = head[0].split(" ")[1]
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
            requests.append((path, headers))
            reply = (on_request(path, headers) if on_request else None) or replies.get(path) or Reply(status=404)
            lines = [
                f"HTTP/1.1 {reply.status} X",
                f"Content-Type: {reply.content_type}",
                f"Content-Length: {len(reply.body)}",
                "Connection: close",
                *(f"{name}: {value}" for name, value in reply.headers.items()),
            ]
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + reply.body)
            async with asyncio.timeout(10):
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            pass
        finally:
            writers.discard(writer)
            writer.close()

    server = await asyncio.start_server(handle, host, 0, ssl=context)
    try:
        yield Server(host, server.sockets[0].getsockname()[1], replies, requests)
    finally:
        server.close()
        for writer in list(writers):
            writer.transport.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await server.wait_closed()


def tls(folder: Path, host: str = HOST) -> ssl.SSLContext:
    certificate, key = write_certificate(folder, host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@contextlib.asynccontextmanager
async def strict_site() -> AsyncIterator[Server]:
    """Serve the strict page as https://web.whatsapp.com."""
    replies = {
        "/": Reply(PAGE.encode(), headers=STRICT),
        "/frame": Reply(FRAME.encode(), headers={**STRICT, "Cross-Origin-Resource-Policy": "same-origin"}),
        "/sw.js": Reply(WORKER.encode(), "text/javascript", headers=STRICT),
    }
    with tempfile.TemporaryDirectory(prefix="ponte-site-") as folder:
        async with serve(replies, context=tls(Path(folder))) as server:
            yield server


def chromium_flags(site: Server) -> list[str]:
    return [f"--host-resolver-rules=MAP {HOST} {site.host}:{site.port}", "--ignore-certificate-errors"]


def wasm_server_replies(assets: Assets) -> dict[str, Reply]:
    replies: dict[str, Reply] = {}
    files: dict[str, Any] = {}
    for asset in (assets.page_js, assets.wa_js, assets.worklet_js, assets.media_wasm):
        replies[f"/{asset.name}"] = Reply(asset.content, "application/octet-stream")
        files[asset.name] = {
            "path": f"/{asset.name}", "sha256": asset.sha256, "bytes": len(asset.content), "type": "text/javascript",
        }  # fmt: skip
    manifest = {"abi": assets.abi, "version": assets.version, "wajs": assets.wajs, "files": files}
    replies["/manifest.json"] = Reply(json.dumps(manifest).encode(), "application/json")
    return replies
