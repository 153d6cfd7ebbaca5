"""The dashboard's types are those of the API."""

from __future__ import annotations

import pytest

from tests.support.dashboard_types import TARGET, render

pytestmark = pytest.mark.unit


def test_they_were_made_of_these_schemas() -> None:
    assert TARGET.read_text(encoding="utf-8") == render(), "run python -m tests.support.dashboard_types"
