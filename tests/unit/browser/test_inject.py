from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest

from gateway.browser.assets import Asset, Assets
from gateway.browser.inject import build_injection, call_expression, origin_of, split_error
from gateway.domain.errors import ConfigError

pytestmark = pytest.mark.unit


def asset(name: str, content: bytes) -> Asset:
    return Asset(name, content, hashlib.sha256(content).hexdigest())


ASSETS = Assets(
    1, "0.1.0", "4.6.0",
    asset("page.js", b"globalThis.page = 1; // no newline"), asset("wa.js", b"var WPP = 1 // none here"),
    asset("worklet.js", b"worklet"), asset("media.wasm", b"\0asm"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://web.whatsapp.com/", "https://web.whatsapp.com"),
        ("https://WEB.whatsapp.com:443/a?b#c", "https://web.whatsapp.com"),
        ("http://host:80", "http://host"),
        ("https://host:8443/", "https://host:8443"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
        ("about:blank", ""),
        ("chrome://newtab/", ""),
        ("https://", ""),
        ("https://host:x/", ""),
        ("", ""),
    ],
)
def test_origins_are_spelt_as_the_page_spells_them(url: str, origin: str) -> None:
    assert origin_of(url) == origin


def test_the_script_is_config_then_bundle_then_wa_js_behind_the_guard() -> None:
    injection = build_injection(ASSETS, url="https://web.whatsapp.com/")
    guard = 'if (globalThis === globalThis.top && location.origin === "https://web.whatsapp.com") try {'
    assert injection.source.startswith(guard)
    order = [injection.source.index(part) for part in ("__ponteConfig", "globalThis.page = 1", "var WPP = 1")]
    assert order == sorted(order)
    found = re.search(r"globalThis\.__ponteConfig = (\{.*\});", injection.source)
    assert found is not None
    assert json.loads(found[1]) == {
        "abi": 1,
        "driver": "whatsapp",
        "wasm": base64.b64encode(b"\0asm").decode(),
        "workletUrl": f"/__ponte/{ASSETS.worklet_js.sha256}/worklet.js",
        "binding": "__ponteEmit",
        "leaseMs": 20_000,
    }
    # A comment at the end of a file must not swallow what follows it.
    assert "// no newline\n;\n" in injection.source
    assert "// none here\n;\n" in injection.source
    assert "ponte.late" in injection.late_source
    assert "ponte.late" not in injection.source
    assert injection.worklet_url == f"https://web.whatsapp.com/__ponte/{ASSETS.worklet_js.sha256}/worklet.js"
    assert injection.worklet_js == b"worklet"


def test_a_page_without_an_origin_is_a_config_error() -> None:
    with pytest.raises(ConfigError):
        build_injection(ASSETS, url="about:blank")


def test_arguments_of_a_call_are_json_in_ascii() -> None:
    expression = call_expression("dial", ("+49\u2028\"'</script>", {"a": [1, None, True]}))
    assert expression.isascii()
    assert r"""__ponte.dial("+49\u2028\"'</script>", {"a": [1, null, true]})""" in expression


@pytest.mark.parametrize("name", ["", "a.b", "a b", "a()", "é"])
def test_a_command_is_an_identifier(name: str) -> None:
    with pytest.raises(ValueError, match="identifier"):
        call_expression(name, ())


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        call_expression("x", (float("nan"),))
    with pytest.raises(TypeError):
        call_expression("x", (object(),))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("not_on_whatsapp: no such account", ("not_on_whatsapp", "no such account")),
        ("code: a: b", ("code", "a: b")),
        ("Something broke", ("page_failed", "Something broke")),
        ("Failed to load: x", ("page_failed", "Failed to load: x")),
        ("", ("page_failed", "")),
    ],
)
def test_code_and_sentence_of_a_page_error(text: str, parts: tuple[str, str]) -> None:
    assert split_error(text) == parts
