"""Readiness: whether this process can do its work, by dependency."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from gateway.domain.errors import PonteError

Check = Callable[[], Awaitable[None]]
"""Returns when the dependency works, raises a `PonteError` that says why it does not."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How one dependency is; detail is one sentence, empty where it is well."""

    name: str
    ok: bool
    detail: str


class Health:
    """The dependencies of one gateway process.

    Args:
        timeout_s: seconds that a check may take before it counts as failed.
    """

    def __init__(self, *, timeout_s: float = 3.0) -> None:
        self._timeout_s = timeout_s
        self._checks: dict[str, Check] = {}
        self._log = structlog.get_logger(__name__)
        self.draining = False

    def register(self, name: str, check: Check) -> None:
        """Add a dependency; a second registration under a name replaces the first."""
        self._checks[name] = check

    async def results(self) -> list[CheckResult]:
        """Run all checks side by side and return how each dependency is."""
        found = list(await asyncio.gather(*(self._run(name, check) for name, check in self._checks.items())))
        if self.draining:
            found.append(CheckResult("draining", False, "The gateway is stopping and takes no new calls"))
        return found

    async def _run(self, name: str, check: Check) -> CheckResult:
        try:
            async with asyncio.timeout(self._timeout_s):
                await check()
        except TimeoutError:
            return CheckResult(name, False, f"No answer within {self._timeout_s:g} s")
        except PonteError as error:
            return CheckResult(name, False, str(error))
        except Exception:
            self._log.exception("health_check_failed", check=name)
            return CheckResult(name, False, "The check itself failed; the log says more")
        return CheckResult(name, True, "")
