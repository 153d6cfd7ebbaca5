"""Calls that are recorded without being asked for, and how the settings have recordings made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog

from gateway.bridge.call import Call
from gateway.bridge.recording import RecordingRule
from gateway.config import Settings
from gateway.domain.errors import PonteError
from gateway.domain.ids import AccountId
from gateway.domain.recording import RecordingFormat, RecordingSpec

_MB: Final = 1_000_000


def recording_rule(settings: Settings, account: AccountId) -> RecordingRule:
    """Return how an account's calls are recorded."""
    folder = settings.effective_recording_dir / account

    def spec(call_id: str) -> RecordingSpec:
        return RecordingSpec(
            str(folder),
            call_id,
            RecordingFormat(settings.recording_format),
            tone=settings.recording_tone,
            sound=str(settings.recording_sound) if settings.recording_sound is not None else "",
            min_free_bytes=settings.recording_min_free_mb * _MB,
        )

    allowed = settings.recording != "off"
    return RecordingRule(allowed, settings.recording == "all" or account in settings.recording_accounts, spec)


@asynccontextmanager
async def recorded(call: Call) -> AsyncIterator[None]:
    """Record *call* from its answer on beside the block, where its account's calls all are."""
    if not call.recording.always:
        yield
        return
    async with asyncio.TaskGroup() as group:
        task = group.create_task(_from_answer_on(call))
        try:
            yield
        finally:
            task.cancel()


async def _from_answer_on(call: Call) -> None:
    await call.active.wait()
    try:
        await call.recording.start()
    except PonteError as error:  # told as an event; the call matters more
        structlog.get_logger("ponte.recording").error("call_not_recorded", code=error.code, detail=str(error))
    except Exception:
        structlog.get_logger("ponte.recording").exception("call_not_recorded")
