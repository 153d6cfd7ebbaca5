"""docs/compare.md: every statement about others has a source, and every row of Ponte's its tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs" / "compare.md").read_text(encoding="utf-8")
WITHOUT_SOURCE = ("–", "not found", "a service", "up to you", "it is WhatsApp's own")


def table(heading: str) -> list[list[str]]:
    part = re.split(r"\n## ", TEXT.split(f"\n## {heading}\n", 1)[1])[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


HEAD, _, *ROWS = table("The table")
PROOFS = {row[0]: row[1] for row in table("What proves Ponte's column")[2:]}
SOURCES = {row[0]: row[1] for row in table("Sources")[2:]}


def test_everybody_is_there_in_every_row() -> None:
    assert [cell.strip(" |") for cell in HEAD][-8:] == [
        "Ponte", "wa2sip", "QuePasa", "Evolution API", "WAHA", "LiveKit SIP", "Janus SIP", "Meta Calling API",
    ]  # fmt: skip
    assert [row[0] for row in ROWS if len(row) != 9] == []
    assert len(ROWS) > 20


def test_what_is_said_of_others_has_a_source() -> None:
    bare = [
        f"{row[0]}: {cell}"
        for row in ROWS
        for cell in row[2:]
        if not re.search(r"\[\w\d\]", cell) and not cell.startswith(WITHOUT_SOURCE)
    ]
    assert bare == []


def test_every_mark_is_explained_and_used_by_its_own_column() -> None:
    letters = dict(enumerate("wqehljm", 2))
    used = {
        (mark, number) for row in ROWS for number, cell in enumerate(row) for mark in re.findall(r"\[(\w\d)\]", cell)
    }
    assert {mark for mark, _ in used} == set(SOURCES)
    assert [(mark, number) for mark, number in used if letters.get(number) != mark[0]] == []


def test_every_row_of_ponte_has_its_tests_or_says_why_not() -> None:
    assert list(PROOFS) == [row[0] for row in ROWS]
    for row, proof in PROOFS.items():
        named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", proof)
        assert named or proof.startswith("nothing: "), row
        for file, name in named:
            source = (ROOT / file).read_text(encoding="utf-8")
            assert not name or re.search(rf"^(async )?def {name}\(", source, re.MULTILINE), f"{file}::{name}"
