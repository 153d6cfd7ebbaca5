"""When a new build of WhatsApp Web is tried."""

from __future__ import annotations

import random

import pytest

from gateway.accounts.build_watch import BuildSettings

pytestmark = pytest.mark.unit


def test_accounts_that_start_together_try_apart() -> None:
    settings, chance = BuildSettings(first_s=600, check_s=21_600, spread_s=1800), random.Random(1)
    first = sorted(settings.pause_s(chance.random(), first=True) for _ in range(20))
    assert first[0] >= 600
    assert first[-1] < 2400
    assert first[-1] - first[0] > 1200
    later = [settings.pause_s(chance.random(), first=False) for _ in range(20)]
    assert 21_600 <= min(later) < max(later) < 23_400
