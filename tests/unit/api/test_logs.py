"""Log lines: JSON off a terminal, no secrets, personal data only where it may be."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from gateway.ops.logs import configure_logging

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_off_a_terminal_with_the_context_of_the_task() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    with structlog.contextvars.bound_contextvars(call_id="c1"):
        structlog.get_logger().info("call_ended", **{"pii.number": "5511", "duration_s": 1})
    [line] = lines(stream)
    assert line["event"] == "call_ended"
    assert (line["call_id"], line["pii.number"], line["level"]) == ("c1", "5511", "info")


def test_personal_data_can_be_dropped() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream, drop_pii=True)
    structlog.get_logger().info("x", **{"pii.number": "5511987654321", "kept": 1})
    assert "5511987654321" not in stream.getvalue()
    assert lines(stream)[0]["kept"] == 1


def test_secrets_are_masked_even_by_mistake() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream)
    structlog.get_logger().info("x", sip_password="hunter2", api_key="hunter2", Authorization="hunter2")
    assert "hunter2" not in stream.getvalue()


def test_pretty_on_a_terminal() -> None:
    stream = Terminal()
    configure_logging(stream=stream)
    structlog.get_logger().info("hello_there")
    assert "hello_there" in stream.getvalue()
    with pytest.raises(json.JSONDecodeError):
        lines(stream)


def test_levels_and_exceptions_and_the_standard_library() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream, level="warning")
    structlog.get_logger().info("not_this")
    try:
        raise ValueError("boom")
    except ValueError:
        structlog.get_logger().exception("this_failed")
    logging.getLogger("some.library").info("nor this")
    logging.getLogger("some.library").warning("but %s", "this")
    first, second = lines(stream)
    assert "ValueError: boom" in str(first["exception"])
    assert (second["event"], second["level"]) == ("but this", "warning")
