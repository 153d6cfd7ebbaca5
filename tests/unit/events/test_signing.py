"""Standard Webhooks signatures, and when a delivery is tried again."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest

from gateway.events.schedule import pause_s, too_old
from gateway.events.signing import new_secret, signature, verify

pytestmark = pytest.mark.unit

# The example that implementations of the scheme are tested with.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE, TIMESTAMP_S, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_schemes_own_example() -> None:
    assert signature([SECRET], MESSAGE, TIMESTAMP_S, BODY) == SIGNATURE


def test_two_secrets_give_two_signatures_and_either_verifies() -> None:
    other = new_secret()
    header = signature([other, SECRET], MESSAGE, TIMESTAMP_S, BODY)
    assert header.split(" ")[1] == SIGNATURE
    for key in (other, SECRET):
        assert verify(key, MESSAGE, TIMESTAMP_S, BODY, header)
    assert not verify(new_secret(), MESSAGE, TIMESTAMP_S, BODY, header)
    for wrong in ((MESSAGE + "x", TIMESTAMP_S, BODY), (MESSAGE, TIMESTAMP_S + 1, BODY), (MESSAGE, TIMESTAMP_S, b"{}")):
        assert not verify(SECRET, *wrong, header)


def test_a_new_secret_is_long_and_another_each_time() -> None:
    first, second = new_secret(), new_secret()
    assert first != second
    assert 24 <= len(base64.b64decode(first.removeprefix("whsec_"))) <= 64
    with pytest.raises(ValueError, match="base64"):
        signature(["whsec_?"], MESSAGE, TIMESTAMP_S, BODY)


def test_pauses_double_up_to_a_cap() -> None:
    assert [pause_s(n, 0) for n in range(1, 9)] == [5, 10, 20, 40, 80, 160, 300, 300]
    assert pause_s(1, 1) == 6
    assert pause_s(10_000, 0) == 300
    begin = datetime(2026, 11, 23, tzinfo=UTC)
    assert not too_old(begin, begin + timedelta(days=3))
    assert too_old(begin, begin + timedelta(days=3, seconds=1))
