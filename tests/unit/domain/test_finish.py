"""Work that is done whole, whoever is cancelled meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from gateway.domain.finish import finish

pytestmark = pytest.mark.unit


async def test_work_ends_though_its_caller_is_cancelled_twice() -> None:
    go = asyncio.Event()
    done = []

    async def work() -> None:
        await go.wait()
        done.append(True)

    caller = asyncio.ensure_future(finish(work()))
    for _ in range(2):
        await asyncio.sleep(0)
        caller.cancel()
    await asyncio.sleep(0)
    assert not caller.done()
    go.set()
    await asyncio.wait([caller])
    assert done
    assert caller.cancelled()


async def test_a_failure_is_told() -> None:
    async def work() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await finish(work())


async def test_a_time_limit_around_it_is_told_as_such() -> None:
    done = []

    async def work() -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        done.append(True)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await finish(work())
    assert done
