"""The table of figures in docs/operations.md is filled from what the benches wrote."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.figure_docs import DOCUMENT, filled

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]
TABLE = """<!-- figures: by make bench -->
| a | 1 ms, provisional | `one.cpu` |
| b | 2 ms, provisional | `one.other` |
| c | 80 MB | by hand |
<!-- end -->
| a | elsewhere | `one.cpu` |
"""


def test_a_figure_takes_its_place_and_others_stay() -> None:
    entry = {"median": 5.5, "spread": [5.0, 6.25], "unit": "ms"}
    text = filled(TABLE, {"one": {"entries": {"cpu": entry, "other": {"skipped": "janus is not installed"}}}})
    assert "| a | 5.5 ms (5 to 6.25) | `one.cpu` |\n| b | 2 ms, provisional |" in text
    assert text.endswith("| a | elsewhere | `one.cpu` |\n")


def test_a_quick_run_is_no_figure() -> None:
    entry = {"median": 5.5, "spread": [5.5, 5.5], "unit": "ms"}
    assert filled(TABLE, {"one": {"quick": True, "entries": {"cpu": entry}}}) == TABLE


def test_the_sections_that_are_named_exist() -> None:
    named = set(re.findall(r"\| `(\w+)\.\w+` \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE))
    assert named
    assert [name for name in named if not (ROOT / f"tests/bench/section_{name}.py").exists()] == []
