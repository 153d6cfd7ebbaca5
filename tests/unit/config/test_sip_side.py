"""The process's settings as those of the SIP stack."""

from __future__ import annotations

import pytest

from gateway.accounts.sip_side import endpoint_settings, stack_settings, with_instance
from gateway.config import load_settings
from gateway.domain.bridge_config import BridgeConfig
from gateway.domain.ids import AccountId

pytestmark = pytest.mark.unit


def test_the_session_interval() -> None:
    assert stack_settings(load_settings()).core.limits.session_expires_s == 600
    assert stack_settings(load_settings({"sip_session_expires_s": 0})).core.limits.session_expires_s == 0


def test_each_account_has_an_instance_of_its_own_that_lasts() -> None:
    settings = endpoint_settings(BridgeConfig(sip_server="pbx"), load_settings({"sip_gruu": True}))
    first, again, other = (with_instance(settings, AccountId(name)).instance for name in ("a", "a", "b"))
    assert first == again
    assert first.urn.startswith("urn:uuid:")
    assert first.urn != other.urn
    assert (first.outbound, first.gruu) == (True, True)
