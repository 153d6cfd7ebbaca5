"""The twelve fields: merge, masks, and every fault of every field."""

from __future__ import annotations

import pytest

from gateway.domain.bridge_config import (
    API_NAMES,
    BridgeConfig,
    InvalidBridgeConfig,
    mask_url,
    merge,
    to_api,
    warnings,
)
from gateway.domain.hosts import SipServerAddress, parse_sip_server, parse_url

pytestmark = pytest.mark.unit


def faults(changes: dict[str, object], stored: BridgeConfig | None = None) -> dict[str, str]:
    with pytest.raises(InvalidBridgeConfig) as caught:
        merge(stored or BridgeConfig(), {"enabled": True, **changes})
    return {fault.field: fault.message for fault in caught.value.faults}


@pytest.mark.parametrize(
    "name", [name for name in API_NAMES if name not in {"enabled", "sipListenPort", "wasmServerPort"}]
)
@pytest.mark.parametrize("value", [1, 1.5, True, False, ["x"], {"a": 1}])
def test_a_text_field_of_another_type(name: str, value: object) -> None:
    assert "must be a string" in faults({name: value})[name]


@pytest.mark.parametrize("name", ["sipListenPort", "wasmServerPort"])
@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("5080", "without quotes"), (5080.0, "fraction"), (True, "true or false"), (False, "true or false"),
        ([5080], "a list"), ({}, "an object"), (0, "1 to 65535"), (-1, "1 to 65535"), (65536, "1 to 65535"),
        (10**4000, "1 to 65535"),
    ],
)  # fmt: skip
def test_a_bad_port(name: str, value: object, word: str) -> None:
    assert word in faults({name: value})[name]


@pytest.mark.parametrize("value", [None, "", "true", 0, 1, [], {}])
def test_a_bad_enabled(value: object) -> None:
    assert "must be true or false" in faults({"enabled": value})["enabled"]


def test_enabled_is_required() -> None:
    with pytest.raises(InvalidBridgeConfig) as caught:
        merge(BridgeConfig(), {"sipServer": "pbx.example.com"})
    assert [fault.field for fault in caught.value.faults] == ["enabled"]
    assert caught.value.http_status == 400


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sip.example.com:5060", SipServerAddress("sip.example.com", 5060)),
        ("pbx", SipServerAddress("pbx")),
        ("pbx_1", SipServerAddress("pbx_1")),
        ("192.0.2.7", SipServerAddress("192.0.2.7")),
        ("[2001:db8::1]:5070;transport=TCP", SipServerAddress("2001:db8::1", 5070, "tcp")),
        ("[2001:db8::1]", SipServerAddress("2001:db8::1")),
        ("pbx.example.com.;transport=wss", SipServerAddress("pbx.example.com.", None, "wss")),
    ],
)
def test_a_good_sip_server(text: str, expected: SipServerAddress) -> None:
    assert parse_sip_server(text) == expected
    assert merge(BridgeConfig(), {"enabled": True, "sipServer": text}).sip_server == text


@pytest.mark.parametrize(
    "text",
    [
        "bad host", "sip:pbx.example.com", "user@pbx", "http://pbx", "pbx:0", "pbx:65536", "pbx:", "pbx:5060:1",
        "pbx:x", "pbx:٥٠٦٠", "2001:db8::1", "[2001:db8::1", "[1.2.3.4]", "[fe80::1%eth0]", "[::1]x", "[::1]:",
        "999.1.1.1", "127.1", "2130706433", "0x7f000001", "1.2.3.0x4", "-pbx", "pbx-.example", "a..b", ".", "x" * 64,
        "é.example", "pbx;transport=sctp", "pbx;transport=udp;transport=tcp", "pbx;lr", "pbx;transport", " pbx", "pbx ",
        "pbx\tx",
        "pbx\r\nX: y", "pbx\0", "pbx,pbx2", "a." * 130 + "b",
    ],
)  # fmt: skip
def test_a_bad_sip_server(text: str) -> None:
    assert "sipServer" in faults({"sipServer": text})


@pytest.mark.parametrize(
    "text",
    [
        "ws://10.1.0.7:9223", "ws://10.1.0.7:9223/", "http://chrome:9222", "https://chrome.example.com", "WS://chrome:1",
        "wss://tok@chrome/devtools/browser/0a-1b", "ws://:tok@[fd00::7]:9223", "http://chrome:9222/json/version",
    ],
)  # fmt: skip
def test_a_good_chrome_url(text: str) -> None:
    assert merge(BridgeConfig(), {"enabled": True, "chromeRemoteURL": text}).chrome_remote_url == text


@pytest.mark.parametrize(
    "text",
    [
        "10.1.0.7:9223", "ftp://x", "ws:10.1.0.7", "ws:///", "ws://", "ws://:9223", "ws://x:0", "ws://x:99999", "ws://x:a",
        "ws://x/devtools/page/1", "ws://x/other", "ws://x?token=1", "ws://x#f", "ws://x?", "ws://@x:1",
        "ws://a b:1", "ws://x/devtools/browser/", "ws://x\\y", "ws://[::1", "ws://[fe80::1%25eth0]:1", "ws://x\ny",
        "ws://0x7f.1:9223", "ws://tok%0d%0a@x", "ws://x" + "y" * 2100,
    ],
)  # fmt: skip
def test_a_bad_chrome_url(text: str) -> None:
    assert "chromeRemoteURL" in faults({"chromeRemoteURL": text})


@pytest.mark.parametrize("text", ["ws://10.1.0.7:3000", "10.1.0.7:3000", "http://", "http://x:70000", "http://x/?a=1"])
def test_a_bad_helper_url(text: str) -> None:
    assert "nodeRemoteHelper" in faults({"nodeRemoteHelper": text})


@pytest.mark.parametrize("text", ["10.0.0.5", "fd00::5", "[fd00::5]", "wasm", "wasm.example.com"])
def test_a_good_wasm_host(text: str) -> None:
    assert merge(BridgeConfig(), {"enabled": True, "wasmServerIP": text}).wasm_server_ip == text


@pytest.mark.parametrize("text", ["http://10.0.0.5", "10.0.0.5:9080", "10.0.0.500", "10.0.0.5/x", "[10.0.0.5]", "a b"])
def test_a_bad_wasm_host(text: str) -> None:
    assert "wasmServerIP" in faults({"wasmServerIP": text})


@pytest.mark.parametrize("name", ["sipUser", "sipListenUser", "sipExtension", "sipPass", "sipListenSecret"])
@pytest.mark.parametrize("bad", ["a\rb", "a\nb", "a\0b", "a\x7fb", "a\x85b", "a\u2028b", "a\ud800b", "x" * 256])
def test_text_that_cannot_stand_in_a_sip_message(name: str, bad: str) -> None:
    assert name in faults({name: bad, "sipListenUser": bad if name == "sipListenUser" else "u"})


@pytest.mark.parametrize("bad", ['a"b', "a\\b", "a b", "a<b", "a>b", "a@b", "a:b"])
def test_a_user_name_that_would_need_escaping(bad: str) -> None:
    assert "sipUser" in faults({"sipUser": bad})


@pytest.mark.parametrize("bad", ["6001@pbx", "sip:6001", "60 01", "6001;x=y", "ramal é", "a%20b"])
def test_an_extension_that_is_more_than_a_user_part(bad: str) -> None:
    assert "sipExtension" in faults({"sipExtension": bad})


def test_a_password_may_hold_nearly_anything() -> None:
    secret = ' spaced "quoted" \\ ção 😀 '
    assert merge(BridgeConfig(), {"enabled": True, "sipUser": "u", "sipPass": secret}).sip_pass == secret


def test_users_and_secrets_belong_together() -> None:
    assert set(faults({"sipListenUser": "in"})) == {"sipListenSecret"}
    assert set(faults({"sipListenSecret": "s"})) == {"sipListenUser"}
    assert set(faults({"sipPass": "s"})) == {"sipUser"}
    assert merge(BridgeConfig(), {"enabled": True, "sipUser": "u"}).sip_user == "u"
    stored = BridgeConfig(sip_listen_user="in", sip_listen_secret="s", sip_user="u", sip_pass="p")
    assert set(faults({"sipListenSecret": ""}, stored)) == {"sipListenSecret"}
    trunk = merge(stored, {"enabled": True, "sipUser": "", "sipListenUser": None})
    assert merge(trunk, to_api(trunk) | {"enabled": True}) == BridgeConfig(
        enabled=True, sip_pass="p", sip_listen_secret="s"
    )


def test_unknown_fields_are_named_with_the_field_that_was_meant() -> None:
    found = faults({"SIPSERVER": 1, "sipPasword": "x", "qqq\r\n": None, "x" * 5000: 1})
    assert "did you mean sipServer" in found["SIPSERVER"]
    assert "did you mean sipPass" in found["sipPasword"]
    assert "did you mean" not in found["qqq\\r\\n"]
    assert all(len(name) <= 64 for name in found)


def test_thousands_of_unknown_fields_stay_readable() -> None:
    found = faults({f"f{n}": n for n in range(5000)})
    assert len(found) == 21
    assert found[""] == "and 4980 more unknown fields"


def test_the_mask_keeps_a_stored_secret_only() -> None:
    stored = BridgeConfig(enabled=True, sip_user="u", sip_pass="p")
    assert merge(stored, {"enabled": True, "sipPass": "***"}).sip_pass == "p"
    assert "none is stored" in faults({"sipListenSecret": "***", "sipListenUser": "u"}, stored)["sipListenSecret"]
    assert "none is stored" in faults({"nodeRemoteHelper": "http://***@10.0.0.1:3000"})["nodeRemoteHelper"]


def test_a_masked_token_stays_with_its_origin() -> None:
    stored = BridgeConfig(chrome_remote_url="ws://:tok@10.0.0.1:9223")
    shown = to_api(stored)["chromeRemoteURL"]
    assert shown == "ws://***@10.0.0.1:9223"
    assert merge(stored, {"enabled": True, "chromeRemoteURL": shown}).chrome_remote_url == "ws://:tok@10.0.0.1:9223"
    for moved in ("ws://***@10.0.0.2:9223", "ws://***@10.0.0.1:9224", "wss://***@10.0.0.1:9223"):
        assert "another host" in faults({"chromeRemoteURL": moved}, stored)["chromeRemoteURL"]


def test_urls_are_masked_as_a_whole_userinfo() -> None:
    assert mask_url("http://a:b@h:1/p@q") == "http://***@h:1/p@q"
    assert mask_url("http://h:1/p@q") == "http://h:1/p@q"


def test_the_host_policy_is_asked_for_each_url_and_named() -> None:
    asked: list[str] = []

    def policy(host: str) -> str | None:
        asked.append(host)
        return "is not allowed" if host == "203.0.113.9" else None

    changes = {
        "enabled": True,
        "chromeRemoteURL": "ws://203.0.113.9:1",
        "nodeRemoteHelper": "http://[fd00::1]:3000",
        "wasmServerIP": "10.0.0.5",
        "sipServer": "203.0.113.9",
    }
    with pytest.raises(InvalidBridgeConfig) as caught:
        merge(BridgeConfig(), changes, policy)
    assert [(fault.field, fault.message) for fault in caught.value.faults] == [("chromeRemoteURL", "is not allowed")]
    assert sorted(asked) == ["10.0.0.5", "203.0.113.9", "fd00::1"]


def test_secrets_stay_out_of_the_repr() -> None:
    config = BridgeConfig(sip_pass="s1", sip_listen_secret="s2", chrome_remote_url="ws://s3@h", node_remote_helper="s4")
    assert not any(f"s{n}" in repr(config) for n in range(1, 5))


def test_warnings_name_what_stays_off() -> None:
    assert warnings(BridgeConfig()) == ()
    assert [w.field for w in warnings(BridgeConfig(enabled=True))] == ["sipServer", "sipListenUser"]
    assert [w.field for w in warnings(BridgeConfig(enabled=True, sip_listen_user="u"))] == ["sipServer"]
    assert warnings(BridgeConfig(enabled=True, sip_server="pbx")) == ()


def test_url_ports_and_origins() -> None:
    parts = parse_url("HTTPS://Chrome.example/x", ("https",))
    assert (parts.port, parts.path, parts.userinfo) == (443, "/x", None)
    assert parts.origin == ("https", "chrome.example", 443)
