"""Where the relay of a node helper is, by what the helper says."""

from __future__ import annotations

import pytest

from gateway.accounts.chrome_place import _relay
from gateway.browser import HelperError, parse_http_url

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("helper", "cdp", "relay"),
    [
        ("http://:t@10.0.0.7:3000", {"host": "10.0.0.7", "port": 9223, "tls": False}, "http://10.0.0.7:9223"),
        ("https://:t@10.0.0.7:3000/profiles/sales", {"port": 9224, "tls": True}, "https://10.0.0.7:9224"),
        # A proxy in front of the helper's API ends TLS; the relay is not behind it.
        ("https://:t@10.0.0.7", {"port": 9223}, "http://10.0.0.7:9223"),
    ],
)
def test_the_relay_has_the_helpers_host_and_token(helper: str, cdp: dict[str, object], relay: str) -> None:
    found = _relay({"cdp": cdp}, parse_http_url(helper))
    assert str(found) == relay
    assert found.token == "t"


def test_a_helper_that_does_not_say_is_named() -> None:
    with pytest.raises(HelperError, match="does not say where its CDP relay is"):
        _relay({"cdp": None}, parse_http_url("http://10.0.0.7:3000"))
