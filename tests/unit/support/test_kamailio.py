"""What is written into kamailio's configuration cannot change its meaning."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.kamailio import Trunk, configuration

pytestmark = pytest.mark.unit

TRUNK = Trunk("whatsapp_trunk", "incoming_user", "incomingSecret123")


def test_users_and_trunk_are_in_the_configuration() -> None:
    text = configuration(port=5070, users={"1000": "abc"}, trunk=TRUNK, reception="1000", modules=Path("/m"))
    assert '$sht(users=>1000) = "abc";' in text
    assert '$avp(trunk_secret) = "incomingSecret123";' in text
    assert "listen=udp:127.0.0.1:5070" in text


@pytest.mark.parametrize("bad", ['a"; exit; "', "a\nb", "", "$ru"])
def test_a_secret_cannot_end_its_quotes(bad: str) -> None:
    with pytest.raises(ValueError, match="letters"):
        configuration(port=5070, users={"1000": bad}, trunk=TRUNK, reception="1000", modules=Path("/m"))
