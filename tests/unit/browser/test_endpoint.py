from __future__ import annotations

import pytest

from gateway.browser.allow import AllowList
from gateway.browser.endpoint import check_literal, parse_browser_url, parse_http_url
from gateway.browser.errors import AddressNotAllowed
from gateway.domain.errors import ConfigError

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("url", "host", "port", "secure", "token"),
    [
        ("ws://10.1.0.7:9223", "10.1.0.7", 9223, False, None),
        ("WS://10.1.0.7:9223/", "10.1.0.7", 9223, False, None),
        (" http://chrome.lan:9222 ", "chrome.lan", 9222, False, None),
        ("http://10.1.0.7:9222/json/version", "10.1.0.7", 9222, False, None),
        ("ws://10.1.0.7:9222/devtools/browser/51ae2e36-faf5", "10.1.0.7", 9222, False, None),
        ("ws://10.1.0.7:9222/devtools/browser", "10.1.0.7", 9222, False, None),
        ("wss://chrome.lan", "chrome.lan", 443, True, None),
        ("https://chrome.lan:8443/", "chrome.lan", 8443, True, None),
        ("ws://[fd00::7]:9223", "fd00::7", 9223, False, None),
        ("http://[::1]", "::1", 80, False, None),
        ("ws://:s3cret@10.1.0.7:9223", "10.1.0.7", 9223, False, "s3cret"),
        ("ws://s3cret@10.1.0.7:9223", "10.1.0.7", 9223, False, "s3cret"),
        ("ws://ponte:a%2Fb%3Ac@10.1.0.7:9223", "10.1.0.7", 9223, False, "a/b:c"),
    ],
)
def test_every_form_of_a_browser_url(url: str, host: str, port: int, secure: bool, token: str | None) -> None:
    endpoint = parse_browser_url(url)
    assert (endpoint.host, endpoint.port, endpoint.secure, endpoint.token) == (host, port, secure, token)
    assert endpoint.path == ""


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "is empty"),
        ("10.1.0.7:9223", "must start with one of ws://"),
        ("ftp://10.1.0.7", "must start with one of ws://"),
        ("ws:10.1.0.7", "must start with"),
        ("ws://", "names no host"),
        ("ws://:9223", "names no host"),
        ("ws://host:99999", "host or port is malformed"),
        ("ws://host:x", "host or port is malformed"),
        ("ws://host:0", "port 0"),
        ("ws://[::1:9223", "malformed"),
        ("ws://[fe80::1%25eth0]:9223", "zone"),
        ("ws://ho st:1", "space"),
        ("ws://host\n:1", "control character"),
        ("ws://ho$t:1", "neither a name nor an address"),
        ("ws://host:1?token=x", "query"),
        ("ws://host:1#x", "fragment"),
        ("ws://host:1/devtools/page/ABC", "names one page"),
        ("ws://host:1/chrome", "a path that Chrome does not have"),
        ("ws://:a%20b@host:1", "token"),
    ],
)
def test_what_is_wrong_with_a_url_is_said_in_one_sentence(url: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as wrong:
        parse_browser_url(url)
    assert wrong.value.field == "chromeRemoteURL"
    assert str(wrong.value).startswith("chromeRemoteURL ")


def test_the_token_is_never_shown() -> None:
    endpoint = parse_browser_url("ws://:s3cret@[fd00::7]:9223")
    assert "s3cret" not in f"{endpoint} {endpoint!r} {endpoint.netloc}"
    assert str(endpoint) == "http://[fd00::7]:9223"
    assert endpoint.with_default_token("other").token == "s3cret"
    assert parse_browser_url("ws://host:1").with_default_token("other").token == "other"
    assert parse_browser_url("ws://host:1").with_default_token(None).token is None
    with pytest.raises(ConfigError) as wrong:
        parse_browser_url("ws://:s3cret@host:1/chrome")
    assert "s3cret" not in str(wrong.value)


def test_a_helper_url_keeps_its_path_as_a_prefix() -> None:
    endpoint = parse_http_url("https://:t@helper.lan/ponte/")
    assert (endpoint.path, endpoint.port, str(endpoint)) == ("/ponte", 443, "https://helper.lan:443/ponte")
    with pytest.raises(ConfigError, match=r"nodeRemoteHelper must start with one of http://, https://"):
        parse_http_url("ws://helper.lan")


def test_an_address_in_a_url_is_checked_without_resolving_and_a_name_is_not() -> None:
    check_literal(parse_browser_url("ws://10.0.0.1:1"), AllowList())
    check_literal(parse_browser_url("ws://any.example:1"), AllowList())
    with pytest.raises(AddressNotAllowed) as refused:
        check_literal(parse_http_url("http://8.8.8.8"), AllowList())
    assert refused.value.field == "nodeRemoteHelper"
