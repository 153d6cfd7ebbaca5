"""The Grafana dashboard and the alarms ask Prometheus for nothing that a gateway does not have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest

from tests.support.metric_docs import Described, metrics
from tests.support.reference_docs import DOCS

pytestmark = pytest.mark.unit

ADDED_BY_PROMETHEUS = {"instance", "job"}
DASHBOARD: dict[str, Any] = json.loads((DOCS / "grafana" / "ponte.json").read_text(encoding="utf-8"))
SERIES: dict[str, Described] = {series: one for one in metrics() for series in one.series}


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def questions() -> Iterator[str]:
    for panel in panels():
        for target in panel["targets"]:
            yield target["expr"].replace("$__rate_interval", "5m")
    for line in (DOCS / "metrics.md").read_text(encoding="utf-8").partition("## What to be told of")[2].splitlines():
        if found := re.match(r"\| [^|`]+ \| `([^`]+)`", line):
            yield found[1]


def selectors(question: str) -> list[promql_parser.VectorSelector]:
    found: list[promql_parser.VectorSelector] = []

    def visit(one: promql_parser.Expr) -> None:
        if isinstance(one, promql_parser.MatrixSelector):
            one = one.vector_selector
        if isinstance(one, promql_parser.VectorSelector):
            found.append(one)

    promql_parser.walk(promql_parser.parse(question), visit)
    return found


def test_every_question_is_promql_and_asks_for_metrics_and_labels_that_are_there() -> None:
    asked = set()
    for question in questions():
        for selector in selectors(question):
            name = selector.name
            assert name is not None, question
            if name == "up":
                continue
            assert name in SERIES, question
            asked.add(SERIES[name].name)
            known = {*SERIES[name].labels, *ADDED_BY_PROMETHEUS}
            assert {matcher.name for matcher in selector.matchers.matchers} <= known, question
    # what is shown nowhere is told of nowhere
    unseen = {one.name for one in metrics()} - asked
    assert unseen <= {
        "ponte_process_start_time_seconds", "ponte_process_virtual_memory_bytes", "ponte_recording_bytes_total",
        "ponte_sip_messages_total", "ponte_media_words_spared_total",
    }  # fmt: skip


def test_groups_and_legends_use_labels_that_are_there() -> None:
    for panel in panels():
        for target in panel["targets"]:
            named = {one.strip() for by in re.findall(r"by \(([^)]*)\)", target["expr"]) for one in by.split(",")}
            named |= set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            known = {label for one in selectors(target["expr"].replace("$__rate_interval", "5m"))
                     for label in SERIES[one.name or ""].labels}  # fmt: skip
            assert named <= known | {"le"} | ADDED_BY_PROMETHEUS, target


def test_it_is_laid_out_as_grafana_wants_it() -> None:
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    variables = {one["name"] for one in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource", "instance"}
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert all(x < 24 for x, _ in cells)
        assert not cells & taken
        taken |= cells
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}"
        assert set(re.findall(r"\$\{?(?!__)(\w+)", json.dumps(panel))) <= variables


def test_a_wrong_question_would_be_seen() -> None:
    with pytest.raises(ValueError, match="unclosed left parenthesis"):
        promql_parser.parse("sum by (le (rate(ponte_calls_total[5m]))")
    assert selectors("sum(rate(ponte_nothing_total[5m]))")[0].name not in SERIES
