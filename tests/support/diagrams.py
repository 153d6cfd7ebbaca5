"""Draws the call's state machine into docs/ARCHITECTURE.md, from the table that the code runs on.

``python -m tests.support.diagrams`` writes it; `make check` and a unit test fail where the document differs.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from gateway.domain.states import CALL_TRANSITIONS, CallState

DOCUMENT = Path(__file__).parents[2] / "docs" / "ARCHITECTURE.md"
_BLOCK = re.compile(r"(<!-- call states: generated -->\n).*?(<!-- end -->)", re.DOTALL)


def call_states() -> str:
    """Return the machine as a Mermaid diagram."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {CallState.CREATED}"]
    lines += [
        f"    {source} --> {target}: {event.__name__}"
        for (source, event), target in CALL_TRANSITIONS.items()
        if source is not target
    ]
    return "\n".join([*lines, f"    {CallState.ENDED} --> [*]", "```", ""])


def drawn(text: str) -> str:
    """Return *text* with its diagram drawn anew."""
    return _BLOCK.sub(lambda found: found[1] + call_states() + found[2], text)


def main() -> int:
    """Write the diagram; with ``--check`` only say whether it is up to date."""
    text = DOCUMENT.read_text()
    if "--check" not in sys.argv:
        DOCUMENT.write_text(drawn(text))
        return 0
    if drawn(text) == text:
        return 0
    print("docs/ARCHITECTURE.md: the call's states changed; run python -m tests.support.diagrams", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
