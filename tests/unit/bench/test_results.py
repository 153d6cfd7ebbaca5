"""The file that every bench writes into."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.bench.__main__ import main, names, run
from tests.bench.results import Section, store

pytestmark = pytest.mark.unit


def read(folder: Path) -> Any:
    return json.loads((folder / "bench.json").read_text())


def test_a_figure_is_the_median_of_its_runs_and_tells_whether_its_bar_holds(tmp_path: Path) -> None:
    with Section.open("delay", folder=tmp_path) as section:
        section.add("p50", "Added delay", [0.6, 0.3, 0.4], "ms", bar=0.5, aim=0.2)
    entry = read(tmp_path)["delay"]["entries"]["p50"]
    assert (entry["median"], entry["spread"], entry["runs"]) == (0.4, [0.3, 0.6], 3)
    assert (entry["bar"], entry["holds"], entry["aim"], entry["aim_reached"]) == (0.5, True, 0.2, False)


@pytest.mark.parametrize(("value", "holds"), [(3.9, False), (4.0, True), (4.2, True)])
def test_a_bar_may_be_the_lowest_good_value(tmp_path: Path, value: float, holds: bool) -> None:
    with Section.open("pesq", folder=tmp_path) as section:
        section.add("mos", "PESQ", [value], "MOS", bar=4.0, at_least=True)
    assert read(tmp_path)["pesq"]["entries"]["mos"]["holds"] is holds
    assert ("MISSED" in section.lines()[0]) is not holds


def test_what_was_not_measured_has_no_figure_and_says_why(tmp_path: Path) -> None:
    with Section.open("cpu", folder=tmp_path) as section:
        section.skip("janus", "CPU", "janus is not installed")
        with pytest.raises(ValueError, match="skip it"):
            section.add("ponte", "CPU", [], "ms")
    assert read(tmp_path)["cpu"]["entries"] == {"janus": {"title": "CPU", "skipped": "janus is not installed"}}
    assert section.lines() == ["  janus: skipped: janus is not installed"]


def test_a_bench_that_fails_leaves_what_it_had_and_the_failure(tmp_path: Path) -> None:
    def bench(section: Section) -> None:
        with section:
            section.add("ponte", "CPU", [4.0], "ms")
            raise RuntimeError("the peer is gone")

    with pytest.raises(RuntimeError):
        bench(Section.open("cpu", folder=tmp_path))
    found = read(tmp_path)["cpu"]
    assert found["failed"] == "RuntimeError: the peer is gone"
    assert found["entries"]["ponte"]["median"] == 4.0


def test_sections_that_end_at_once_all_stay(tmp_path: Path) -> None:
    store("before", {"kept": True}, tmp_path)
    threads = [threading.Thread(target=store, args=(f"s{n}", {"n": n}, tmp_path)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read(tmp_path) == {"before": {"kept": True}, **{f"s{n}": {"n": n} for n in range(16)}}


def test_a_section_that_is_not_there_fails_and_the_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not run("nowhere", quick=True, folder=tmp_path)
    assert "failed" in read(tmp_path)["nowhere"]
    assert "No module named" in capsys.readouterr().err


def test_an_unknown_section_is_told_with_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["nonsense"])
    told = capsys.readouterr().err
    assert all(name in told for name in names())
