"""Loads a user's script: a Python file with functions that drive one web client."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gateway.domain.errors import ConfigError

_SETTING: Final = "page_script"

Function = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Script:
    """The functions of a script; `page` is a Playwright page.

    Attributes:
        dial: ``dial(page, number)``: begin to call; number is the digits of an E.164 number without ``+``.
        answer: ``answer(page)``: take the call that rings; it carries audio when this returns.
        hangup: ``hangup(page)``: end the call, or give up one that rings.
        reject: ``reject(page)``: decline the call that rings; `hangup` where the script has none.
        watch: ``watch(page, events)``: tell what happens in the page, until cancelled; None where the script has none.
    """

    dial: Function
    answer: Function
    hangup: Function
    reject: Function
    watch: Function | None


def load_script(path: Path) -> Script:
    """Load a script anew.

    Args:
        path: the Python file.

    Raises:
        ConfigError: it is not there, fails, or lacks a function.
    """
    specification = importlib.util.spec_from_file_location(f"ponte_script_{path.stem}", path)
    if specification is None or specification.loader is None or not path.is_file():
        raise ConfigError(f"The script {path} is not a Python file; check page_script", _SETTING)
    module = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(
            f"The script {path} fails when it is loaded: {type(error).__name__}: {error}", _SETTING
        ) from error

    def function(name: str, parameters: int) -> Function | None:
        found = getattr(module, name, None)
        if found is None:
            return None
        if not inspect.iscoroutinefunction(found) or len(inspect.signature(found).parameters) != parameters:
            raise ConfigError(f"{name} of {path} must be an async function of {parameters} parameters", _SETTING)
        return found  # type: ignore[no-any-return]

    dial, answer, hangup = function("dial", 2), function("answer", 1), function("hangup", 1)
    if dial is None or answer is None or hangup is None:
        raise ConfigError(f"The script {path} must have async functions dial(page, number), answer(page), hangup(page)")
    return Script(dial, answer, hangup, function("reject", 1) or hangup, function("watch", 2))
