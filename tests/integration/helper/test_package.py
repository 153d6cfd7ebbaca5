"""The node helper by node's own test runner, with a real Chromium."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.npm import npm_test

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

PACKAGE = Path(__file__).resolve().parents[3] / "node_helper"


def test_the_helper_package_passes_its_own_tests() -> None:
    assert "\n# fail 0\n" in npm_test(PACKAGE, timeout_s=200)
