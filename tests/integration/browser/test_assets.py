"""The page bundle over real HTTP: what fits is taken, whatever does not is refused with a reason."""

from __future__ import annotations

import json

import pytest

from gateway.browser import PAGE_ABI, AddressNotAllowed, AssetError, fetch_assets
from tests.integration.browser.site import Reply, make_assets, serve, wasm_server_replies
from tests.support.ports import free_ports

pytestmark = pytest.mark.integration


async def test_what_the_manifest_says_is_taken() -> None:
    wanted = make_assets()
    async with serve(wasm_server_replies(wanted)) as server:
        assert await fetch_assets(f"http://127.0.0.1:{server.port}") == wanted
        assert await fetch_assets(f"http://localhost:{server.port}/") == wanted


@pytest.mark.parametrize("name", ["page.js", "wa.js", "worklet.js", "media.wasm"])
async def test_a_file_that_was_changed_on_the_way_is_refused(name: str) -> None:
    replies = wasm_server_replies(make_assets())
    replies[f"/{name}"].body = replies[f"/{name}"].body[:-1] + b" "
    async with serve(replies) as server:
        with pytest.raises(AssetError, match=rf"{name} of .* is not what its manifest says"):
            await fetch_assets(f"http://127.0.0.1:{server.port}")
    replies[f"/{name}"] = Reply(status=404)
    async with serve(replies) as server:
        with pytest.raises(AssetError, match=f"HTTP 404 for /{name}"):
            await fetch_assets(f"http://127.0.0.1:{server.port}")
    replies[f"/{name}"] = Reply(b"x" * 17_000_000)
    async with serve(replies) as server:
        with pytest.raises(AssetError, match="more than"):
            await fetch_assets(f"http://127.0.0.1:{server.port}")


async def test_another_abi_is_refused_before_anything_is_loaded() -> None:
    replies = wasm_server_replies(make_assets())
    manifest = json.loads(replies["/manifest.json"].body)
    manifest["abi"] = PAGE_ABI + 1
    replies["/manifest.json"].body = json.dumps(manifest).encode()
    async with serve(replies) as server:
        with pytest.raises(AssetError, match="serves a page bundle of ABI 2, this gateway needs 1; install the same"):
            await fetch_assets(f"http://127.0.0.1:{server.port}")
        assert [path for path, _ in server.requests] == ["/manifest.json"]


async def test_a_server_that_is_not_there_or_is_another_one() -> None:
    with pytest.raises(AssetError, match="Nothing listens at "):
        await fetch_assets(f"http://127.0.0.1:{free_ports()}")
    async with serve({"/manifest.json": Reply(b"<html>")}) as server:
        with pytest.raises(AssetError, match="gives no manifest"):
            await fetch_assets(f"http://127.0.0.1:{server.port}")
    with pytest.raises(AddressNotAllowed):
        await fetch_assets("http://169.254.169.254:9080")
