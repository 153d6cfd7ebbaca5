"""The document shows the machine that runs."""

import pytest

from tests.support.diagrams import DOCUMENT, call_states, drawn

pytestmark = pytest.mark.unit


def test_the_architecture_document_has_todays_call_states() -> None:
    text = DOCUMENT.read_text()
    assert call_states() in text
    assert drawn(text) == text


def test_an_old_diagram_is_noticed() -> None:
    text = "a\n<!-- call states: generated -->\nold\n<!-- end -->\nb"
    assert "old" not in drawn(text)
    assert drawn(text).startswith("a\n")
    assert drawn(text).endswith("\nb")
