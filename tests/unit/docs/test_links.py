"""Every link, file, command, variable and metric that the documents name is there."""

from __future__ import annotations

import argparse
import functools
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli import parser as command_line
from gateway.config import Settings
from tests.support.metric_docs import metrics as every_metric

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]
ELSEWHERE = ("node_modules", ".venv", "build", "dist")
DOCUMENTS = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part in ELSEWHERE or part.startswith(".") for part in path.relative_to(ROOT).parts[:-1])
)
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
FENCE = re.compile(r"^( *)```.*?^\1```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
FOLDERS = ("gateway/", "tests/", "docs/", "node_helper/", "wasm_server/", "docker/", ".ci/")


def prose(path: Path) -> str:
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def code(path: Path) -> str:
    """What stands in a document as code, one piece a line."""
    text = path.read_text(encoding="utf-8")
    indented = re.findall(r"^    (\S.*)$", text, re.MULTILINE)
    return "\n".join([*(found[0] for found in FENCE.finditer(text)), *CODE.findall(FENCE.sub("", text)), *indented])


def slug(heading: str) -> str:
    """The anchor that a forge makes of a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.strip()).lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


@functools.cache
def anchors(path: Path) -> set[str]:
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} (.+)$", prose(path), re.MULTILINE):
        base = one = slug(heading)
        number = 0
        while one in found:
            number += 1
            one = f"{base}-{number}"
        found.add(one)
    return found


def test_the_anchor_of_a_heading() -> None:
    assert slug("Line by line: Asterisk") == "line-by-line-asterisk"
    assert slug("`POST /call/{id}/hangup`") == "post-callidhangup"
    assert slug("Não há áudio") == "não-há-áudio"


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_links_lead_somewhere(path: Path) -> None:
    wrong = []
    for target in LINK.findall(prose(path)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (path.parent / name).resolve() if name else path
        if not there.exists() or (anchor and there.suffix == ".md" and anchor not in anchors(there)):
            wrong.append(target)
    assert wrong == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_files_that_are_named_exist(path: Path) -> None:
    wrong = []
    for found in CODE.findall(prose(path)):
        name = found.split("::")[0].split(" ")[0].rstrip("/")
        if not name.startswith(FOLDERS) or any(sign in name for sign in "*<>{}…"):
            continue
        if not (ROOT / name).exists() and not (path.parent / name).exists():
            wrong.append(found)
    assert wrong == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_tests_that_are_named_exist(path: Path) -> None:
    """``tests/….py::test_name`` names a test of that file, ``tests/….py::Class::test_name`` one of a class."""
    wrong = []
    for file, name in re.findall(r"`(tests/[\w/]+\.py)::([\w:]+)`", prose(path)):
        source = (ROOT / file).read_text(encoding="utf-8") if (ROOT / file).exists() else ""
        if not all(re.search(rf"(def|class) {part}\b", source) for part in name.split("::")):
            wrong.append(f"{file}::{name}")
    assert wrong == []


TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_targets_of_make_exist(path: Path) -> None:
    assert set(re.findall(r"^(?:[A-Z_]+=\S* )*make ([a-z][a-z-]*)", code(path), re.MULTILINE)) <= TARGETS


def spoken(path: Path) -> Iterator[list[str]]:
    """The words of each ``ponte …`` command of a document, up to what a shell would take for the next command."""
    for line in code(path).replace("\\\n", " ").splitlines():
        for found in re.finditer(r"(?:^|(?<!-u)\s|/)ponte ([a-z][^#|;&>)]*)", line):
            yield found[1].split()


def subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def fault(words: list[str]) -> str | None:
    """What is wrong with a command line, as far as its words are commands and flags."""
    parser, rest = command_line(), words
    while rest and (known := subparsers(parser)):
        if rest[0] not in known:
            return f"no command {rest[0]!r}"
        parser, rest = known[rest[0]], rest[1:]
    flags = {flag for action in parser._actions for flag in action.option_strings}
    wrong = [word for word in rest if word.startswith("--") and word.strip("[]").split("=")[0] not in flags]
    return f"no flag {wrong[0]}" if wrong else None


def test_commands_are_looked_up() -> None:
    assert fault(["doctor", "--account", "NAME", "--json"]) is None
    assert fault(["accounts", "keys", "revoke", "NAME", "ID"]) is None
    assert fault(["guess"]) == "no command 'guess'"
    assert fault(["doctor", "--guess"]) == "no flag --guess"


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_commands_of_ponte_exist(path: Path) -> None:
    wrong = [f"ponte {' '.join(words)}: {why}" for words in spoken(path) if (why := fault(words))]
    assert wrong == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_modules_that_are_run_exist(path: Path) -> None:
    named = set(re.findall(r"python -m ((?:gateway|tests|wasm_server)[\w.]*)", code(path)))
    assert [name for name in sorted(named) if importlib.util.find_spec(name) is None] == []


SOURCES = ("gateway", "wasm_server", "node_helper/src", "tests", "docker", ".ci", "compose.yaml")
SUFFIXES = {".py", ".js", ".ts", ".sh", ".yaml", ".in", ""}


def sources() -> str:
    found = []
    for name in SOURCES:
        top = ROOT / name
        files = [top] if top.is_file() else top.rglob("*")
        found += [
            file.read_text(encoding="utf-8", errors="replace")
            for file in files
            if file.is_file()
            and file.suffix in SUFFIXES
            and not set(file.relative_to(ROOT).parts) & {"node_modules", "__pycache__", "docs"}
        ]
    return "\n".join(found)


SOURCE = sources()


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_variables_are_read_by_something(path: Path) -> None:
    named = set(re.findall(r"\bPONTE_[A-Z0-9_]*[A-Z0-9]\b(?!_?…|_?<)", path.read_text(encoding="utf-8")))
    unknown = {name for name in named if name.removeprefix("PONTE_").lower() not in Settings.model_fields}
    assert [name for name in sorted(unknown) if name not in SOURCE] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_metrics_exist(path: Path) -> None:
    named = set(re.findall(r"`(ponte_[a-z0-9_]+)(?:\{[a-z_,= \"]*\})?`", prose(path)))
    assert [name for name in sorted(named) if not known_metric(name)] == []


def known_metric(name: str) -> bool:
    """Whether the code has this metric, by the whole name or without what the library adds to it."""
    short = re.sub(r"_(bucket|count|sum)$", "", name)
    return {name, f"{name}_total", short} & {one.name for one in every_metric()} != set()


SYMPTOMS = ROOT / "docs" / "troubleshooting.md"


def test_what_the_gateway_says_is_quoted_as_it_says_it() -> None:
    """Sentences in backticks: an operator searches for them."""
    quoted = [
        one
        for one in CODE.findall(prose(SYMPTOMS))
        if re.fullmatch(r"[A-Za-z][\w',-]*(?: [\w',-]+){2,}", one) and not one.startswith("ponte ")
    ]
    assert len(quoted) > 8
    joined = re.sub(r"[\"'] \+?\s*f?[\"']|['\"]\s*\+\s*['\"]|\"\n\s*f?\"", "", SOURCE)
    assert [one for one in quoted if one not in joined] == []


def test_slugs_fields_and_settings_of_the_symptoms_exist() -> None:
    known = SOURCE + (ROOT / "docs" / "pbx.md").read_text(encoding="utf-8")
    slugs = {one for one in CODE.findall(prose(SYMPTOMS)) if re.fullmatch(r"[a-z]+(?:_[a-z0-9]+)+(?:=\w+)?", one)}
    assert len(slugs) > 30
    assert [one for one in sorted(slugs) if one not in known] == []
