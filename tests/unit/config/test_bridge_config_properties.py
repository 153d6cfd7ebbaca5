"""Merging and validating, for any input."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.browser.endpoint import parse_browser_url, parse_http_url
from gateway.domain.bridge_config import API_NAMES, BridgeConfig, InvalidBridgeConfig, merge, to_api
from gateway.protocol.sip.target import parse_sip_server

pytestmark = pytest.mark.property

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
names = st.sampled_from(list(API_NAMES)) | st.text(max_size=20)
any_body = st.dictionaries(names, json_values, max_size=14)

user = st.from_regex(r"[a-z][a-z0-9_.]{0,12}", fullmatch=True)
secret = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20).filter(
    lambda s: s != "***"
)
port = st.integers(1, 65535)
host = st.sampled_from(["pbx.example.com", "10.0.0.5", "chrome", "192.168.7.7"])
token = st.sampled_from(["", "TOKEN-9@", ":TOKEN-9@", "a:b@"])
cleared = st.sampled_from([None, ""])
good_body: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"enabled": st.booleans()},
    optional={
        "sipServer": st.builds("{}:{};transport={}".format, host, port, st.sampled_from(["udp", "TCP", "wss"]))
        | cleared,
        "sipUser": user,
        "sipPass": cleared,
        "sipListenPort": port | cleared,
        "sipExtension": user | cleared,
        "wasmServerPort": port | cleared,
        "wasmServerIP": host | cleared,
        "chromeRemoteURL": st.builds("ws://{}{}:{}".format, token, host, port) | cleared,
        "nodeRemoteHelper": st.builds("http://{}{}:{}/x".format, token, host, port) | cleared,
    },
)
listen = st.fixed_dictionaries({"sipListenUser": user, "sipListenSecret": secret}) | st.just(
    {"sipListenUser": None, "sipListenSecret": ""}
)
bodies = st.builds(lambda body, more: body | more, good_body, listen | st.just({}))


@settings(deadline=None)  # the machine may be busy
@given(any_body)
def test_any_object_is_merged_or_refused_by_field(body: dict[str, Any]) -> None:
    try:
        config = merge(BridgeConfig(), body)
    except InvalidBridgeConfig as error:
        faults = error.faults
    else:
        assert set(body) <= set(API_NAMES)
        assert isinstance(config.enabled, bool)
        assert 1 <= config.sip_listen_port <= 65535
        json.dumps(to_api(config), ensure_ascii=False).encode()
        return
    assert all(fault.message for fault in faults)
    assert faults
    json.dumps([fault.field + fault.message for fault in faults], ensure_ascii=False).encode()


@settings(deadline=None)  # the machine may be busy
@given(bodies, bodies)
def test_merging_is_by_field_and_twice_changes_nothing(first: dict[str, Any], second: dict[str, Any]) -> None:
    before = merge(BridgeConfig(), first)
    after = merge(before, second)
    assert merge(after, second) == after
    for name, attribute in API_NAMES.items():
        kept = getattr(after, attribute)
        if name not in second:
            assert kept == getattr(before, attribute)
        elif second[name] in (None, ""):
            assert kept == getattr(BridgeConfig(), attribute)
        else:
            assert kept == second[name]


@settings(deadline=None)  # the machine may be busy
@given(bodies)
def test_what_is_shown_can_be_sent_back(body: dict[str, Any]) -> None:
    config = merge(BridgeConfig(), body)
    shown = json.loads(json.dumps(to_api(config)))
    assert merge(config, shown) == config
    if config.sip_listen_secret is not None:
        assert shown["sipListenSecret"] == "***"
    assert "TOKEN-9" not in json.dumps(shown)  # no other value is in capitals and has a dash


host_like = st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,8}|\[[0-9a-f:]{2,12}\]|[0-9.x]{1,12}", fullmatch=True)
port_like = st.from_regex(r"(:[0-9]{0,6})?", fullmatch=True)
userinfo_like = st.from_regex(r"([a-z:%0-9@]{0,8}@)?", fullmatch=True)
path_like = st.from_regex(r"(/[a-z/A-Z0-9.%-]{0,14}|/devtools/browser/[a-z0-9%/.-]{0,9}|/json.{0,10})?", fullmatch=True)
transport_like = st.sampled_from(["", ";transport=udp", "; Transport=TCP", ";transport="])
schemes = st.sampled_from(["ws", "http", "wss", "HTTPS"])


@settings(deadline=None)
@given(
    st.builds("{}{}{}".format, host_like, port_like, transport_like),
    st.builds("{}://{}{}{}{}".format, schemes, userinfo_like, host_like, port_like, path_like),
)
def test_what_is_accepted_can_be_used(server: str, url: str) -> None:
    """The parts parse these texts again, with parsers of their own: none may refuse what was acknowledged."""
    for name, value, parse in (
        ("sipServer", server, parse_sip_server),
        ("chromeRemoteURL", url, parse_browser_url),
        ("nodeRemoteHelper", url, parse_http_url),
    ):
        try:
            merge(BridgeConfig(), {"enabled": True, name: value})
        except InvalidBridgeConfig:
            continue
        parse(value)
