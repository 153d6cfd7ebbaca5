"""docs/configuration.md and docs/api-reference.md are what the code says."""

from __future__ import annotations

import pytest

from gateway.api.operations import OPERATIONS
from gateway.config import Settings
from tests.support.api_docs import api_parts
from tests.support.config_docs import config_parts
from tests.support.reference_docs import documented, stale

pytestmark = pytest.mark.unit


def test_the_references_are_up_to_date() -> None:
    assert stale() == [], "the code changed: run python -m tests.support.reference_docs, and commit what it writes"


def test_every_setting_is_there_once() -> None:
    text = config_parts()["settings"]
    for name in Settings.model_fields:
        assert text.count(f"`PONTE_{name.upper()}`") == 1, name


def test_a_secret_has_no_flag() -> None:
    text = config_parts()["settings"]
    assert "--secret-key`" not in text
    assert "--helper-token`" not in text
    assert "--secret-key-file`" in text


def test_a_default_has_its_unit() -> None:
    text = config_parts()["settings"]
    assert "`30` a minute" in text
    assert "`90` days" in text
    assert "`60` s" in text


def test_every_operation_is_there() -> None:
    text = api_parts()["operations"]
    for one in OPERATIONS:
        assert f"### `{one.method.upper()} {one.path}`\n" in text


def test_what_people_wrote_stays() -> None:
    text = "before\n<!-- a: generated -->\nold\n<!-- end -->\nafter\n"
    assert documented(text, {"a": "new\n"}) == "before\n<!-- a: generated -->\nnew\n<!-- end -->\nafter\n"
    with pytest.raises(ValueError, match="no place for 'b'"):
        documented(text, {"b": ""})
