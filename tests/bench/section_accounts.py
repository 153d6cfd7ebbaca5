"""Idle accounts and attaching: see `tests.bench.bench_accounts`."""

from __future__ import annotations

from tests.bench import bench_accounts
from tests.bench.results import Section


def run(section: Section, *, quick: bool) -> None:
    """Measure."""
    bench_accounts.run(section, bench_accounts.QUICK if quick else bench_accounts.Plan())
