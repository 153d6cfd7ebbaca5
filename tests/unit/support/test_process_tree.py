"""What processes cost, read from /proc."""

from __future__ import annotations

import os

import pytest

from tests.support.process_tree import Cost, by_role, costs, cpu_by_role, role_of, tree

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("argv", "role"),
    [
        (["/usr/lib/chromium/chromium", "--remote-debugging-port=1"], "chrome browser"),
        (["/usr/lib/chromium/chromium --type=renderer --lang=en"], "chrome renderer"),
        (["chromium", "--type=utility", "--utility-sub-type=network.mojom.NetworkService"], "chrome network"),
        (["chrome_crashpad_handler", "--database=x"], "chrome crashpad"),
        (["node", "/x/node_helper/src/main.js"], "helper"),
        (["python", "-m", "gateway.cli", "serve"], "gateway"),
        (["python", "-m", "gateway.ops.tied", "7", "wasm_server"], "wasm server"),
        (["/bin/sh", "-c", "true"], "sh"),
    ],
)
def test_each_process_has_its_part(argv: list[str], role: str) -> None:
    assert role_of(argv) == role


def test_the_tree_of_this_process_costs_something() -> None:
    me = os.getpid()
    assert me in tree([os.getppid()])
    found = costs([me])[me]
    assert found.pss_bytes >= found.own_bytes > 2**20
    assert found.cpu_s > 0


def test_sums_are_by_role_and_a_process_that_began_meanwhile_counts_from_its_start() -> None:
    before = {1: Cost("a", 5, 1, 2.0)}
    after = {1: Cost("a", 7, 2, 3.0), 2: Cost("a", 1, 1, 0.5), 3: Cost("b", 4, 4, 0.25)}
    assert by_role(after.values()) == {"a": 8, "b": 4}
    assert by_role(after.values(), own=True) == {"a": 3, "b": 4}
    assert cpu_by_role(before, after) == {"a": 1.5, "b": 0.25}
