"""The Portuguese documents have the parts, commands and names of the English ones; the quick start is pbx.md's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]
PAIRS = (("README.md", "README.pt-BR.md"), ("docs/quickstart-asterisk.md", "docs/quickstart-asterisk.pt-BR.md"))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def fences(text: str) -> list[str]:
    return re.findall(r"^```\w*\n.*?^```$", text, re.DOTALL | re.MULTILINE)


def without_fences(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def shape(text: str) -> list[str]:
    """The kind of each part, in order: headings by their level, code, tables, items, quotations, paragraphs."""
    kinds = []
    for part in re.split(r"\n{2,}", without_fences(text).strip()):
        heading = re.match(r"#+ ", part)
        marks = {"    ": "code", "| ": "table", "- ": "items", "> ": "quotation"}
        kinds.append(heading[0] if heading else next((marks[mark] for mark in marks if part.startswith(mark)), "text"))
    return kinds


@pytest.mark.parametrize(("english", "portuguese"), PAIRS)
def test_headings_are_the_same(english: str, portuguese: str) -> None:
    levels = [re.findall(r"^(#+) ", without_fences(read(name)), re.MULTILINE) for name in (english, portuguese)]
    assert levels[0] == levels[1]
    assert len(levels[0]) > 5


@pytest.mark.parametrize(("english", "portuguese"), PAIRS)
def test_commands_are_the_same(english: str, portuguese: str) -> None:
    for found in (fences, lambda text: re.findall(r"^    .*$", without_fences(text), re.MULTILINE)):
        assert found(read(english)) == found(read(portuguese))


@pytest.mark.parametrize(("english", "portuguese"), PAIRS)
def test_parts_are_the_same(english: str, portuguese: str) -> None:
    wanted, found = (shape(read(name)) for name in (english, portuguese))
    if english == "README.md":  # one paragraph more says which documents are English
        found.pop(found.index("table") - 1)
    assert found == wanted


@pytest.mark.parametrize(("english", "portuguese"), PAIRS)
def test_names_are_the_same(english: str, portuguese: str) -> None:
    """Settings, fields, ports and documents that the one names the other names too."""
    for names in (r"\bPONTE_[A-Z_]+\b", r"\bsip[A-Z]\w+|\bchromeRemoteURL\b|\bnodeRemoteHelper\b", r"\b\d{4,5}\b"):
        assert set(re.findall(names, read(english))) == set(re.findall(names, read(portuguese))), names
    targets = [set(re.findall(r"\]\(([^)#]+)", read(name).replace(".pt-BR", ""))) for name in (english, portuguese)]
    assert targets[0] == targets[1]


@pytest.mark.parametrize("name", PAIRS[1])
def test_the_quick_start_is_the_configuration_of_the_pbx_page(name: str) -> None:
    pbx = read("docs/pbx.md").split("### Registration", 1)[1].split("### Trunk", 1)[0]
    quick = read(name)
    assert fences(pbx)[:2] == fences(quick)[:2]
    body = fences(pbx)[2].removeprefix("```json\n").removesuffix("\n```")
    assert body in quick
