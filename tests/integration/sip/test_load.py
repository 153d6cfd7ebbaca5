"""None lost: many calls by SIPp against the real stack, the bridge and the media plane; and refused politely when full.

Claims are about calls, not about time: every limit is many times what it takes on a quiet machine.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.protocol.sip.engine import CoreLimits
from tests.bench.called import called
from tests.support.sip_sipp import read_trace, start_sipp

pytestmark = pytest.mark.integration


async def test_two_hundred_calls_at_fifty_per_second(tmp_path: Path) -> None:
    async with called(bridged=True) as one:
        sipp = await start_sipp(
            tmp_path, "uac_digest", remote=one.port, calls=200, rate=50, limit_s=60, trace=tmp_path / "trace"
        )
        await sipp.wait(70)
        await one.until(lambda now: now.ended == 200)
        assert (one.live, one.faults) == (0, [])
        answered = {one.call_id for one in read_trace(tmp_path / "trace") if one.line == "SIP/2.0 200 OK"}
        assert len(answered) == 200


async def test_a_hundred_calls_at_once(tmp_path: Path) -> None:
    async with called(bridged=True) as one:
        sipp = await start_sipp(
            tmp_path, "uac_until_bye", remote=one.port, calls=100, rate=50, at_once=100, limit_s=60
        )  # fmt: skip
        await one.until(lambda now: now.live == 100)
        one.hang_up()
        await sipp.wait(70)
        await one.until(lambda now: now.ended == 100)
        assert (one.most_live, one.live, one.faults) == (100, 0, [])


@pytest.mark.parametrize(
    "limits",
    [
        CoreLimits(max_sessions=5),
        # challenges would take places in so small a table
        CoreLimits(max_server_transactions=5, max_challenges=0),
    ],
    ids=["sessions", "transactions"],
)
async def test_a_full_table_refuses_with_503_and_keeps_what_is_up(tmp_path: Path, limits: CoreLimits) -> None:
    async with called(bridged=False, limits=limits) as one:
        up = await start_sipp(tmp_path, "uac_until_bye", remote=one.port, calls=5, rate=50, at_once=5)
        await one.until(lambda now: now.live == 5)
        refused = tmp_path / "refused"
        refused.mkdir()
        await (await start_sipp(refused, "uac_full", remote=one.port, calls=20, rate=50)).wait()
        assert one.counts["refused_full"] >= 20
        assert (one.live, one.faults) == (5, [])
        one.hang_up()
        await up.wait()
        await one.until(lambda now: now.ended == 5)
