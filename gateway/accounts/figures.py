"""What the accounts show as Prometheus metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from gateway.domain.states import PageState
from gateway.ops.metrics import Metrics


def show_pages(metrics: Metrics, pages: Callable[[], Iterable[PageState]]) -> None:
    """Show in *metrics* how many of *pages* are in each state; a state that none is in is shown as 0."""

    def read() -> dict[tuple[str, ...], int]:
        found = Counter(pages())
        return {(state.value,): found[state] for state in PageState}

    metrics.mirror("ponte_page_state", "Accounts whose page is in the state", ("state",), read, kind="gauge")
