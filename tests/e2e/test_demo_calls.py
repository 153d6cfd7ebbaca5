"""The demo's calls, shorter: one in each direction, in each way that Chromium can be reached, and after its crash.

What is asserted was heard: by a real SIP phone behind a real PBX, and by the far end of the page in a real Chromium.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from tests.demo import chrome as chromes
from tests.demo.call import Direction, Script, Spoken, write_script
from tests.demo.chrome import UrlForm
from tests.demo.measure import Limits
from tests.demo.measured import measured_call
from tests.demo.world import Ports, World, WorldOptions, world
from tests.support.rtpengine import INSTALLED, NOT_INSTALLED, rtpengine
from tests.support.wire import may_tap

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.alone,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not may_tap(), reason="looking at packets needs root or CAP_NET_RAW"),
]

SCRIPT = Script(tone_s=2.0, speech_s=3.0, bursts=10)
# What was heard has the demo's limits. How long things take depends on what else the machine does, and is shown by the
# demo: here only what would be a fault on any machine fails.
LIMITS = Limits(
    latency_count=8, longest_gap_ms=200, wa_to_sip_latency_ms_p50=300, sip_to_wa_latency_ms_p50=600,
    answer_to_audio_ms=2000,
)  # fmt: skip


@pytest.fixture(scope="module")
def spoken() -> Spoken:
    return write_script(SCRIPT, seed=7)


async def calls_hold(here: World, spoken: Spoken, folder: Path, say: Callable[[str], None]) -> None:
    """Make a call in each direction and assert on what was heard."""
    for direction in get_args(Direction):
        result = await measured_call(here, direction, spoken, folder, say, limits=LIMITS)
        assert result.failed == (), result
        assert (await here.status())["calls"] == []


@pytest.mark.parametrize(
    ("with_helper", "url_form"), [(True, "ws"), (False, "full")], ids=["helper-ws", "no-helper-full"]
)
async def test_both_sides_hear_each_other(with_helper: bool, url_form: UrlForm, spoken: Spoken, tmp_path: Path) -> None:
    options = WorldOptions(tmp_path, Ports.free(), with_helper=with_helper, url_form=url_form)
    async with world(options, print) as here:
        await here.configure(await here.configuration())
        await here.wait_ready(print)
        await calls_hold(here, spoken, tmp_path / "calls", print)


@pytest.mark.parametrize(
    ("with_helper", "url_form"), [(True, "ws"), (False, "http")], ids=["helper-ws", "no-helper-http"]
)
async def test_both_sides_hear_each_other_after_a_crash_of_chromium(
    with_helper: bool, url_form: UrlForm, spoken: Spoken, tmp_path: Path
) -> None:
    options = WorldOptions(tmp_path, Ports.free(), with_helper=with_helper, url_form=url_form)
    async with world(options, print) as here:
        await here.configure(await here.configuration())
        await here.wait_ready(print)
        await chromes.kill(here.chrome)
        await here.wait_lost()
        await here.wait_ready(print)
        await calls_hold(here, spoken, tmp_path / "calls", print)


@pytest.mark.skipif(not INSTALLED, reason=NOT_INSTALLED)
async def test_both_sides_hear_each_other_through_an_rtpengine_which_dies_and_comes_back(
    spoken: Spoken, tmp_path: Path
) -> None:
    options = WorldOptions(tmp_path, Ports.free(), media="rtpengine")
    async with world(options, print) as here:
        await here.configure(await here.configuration())
        await here.wait_ready(print)
        await calls_hold(here, spoken, tmp_path / "calls", print)

        mark = here.phone.mark()
        await here.far_end.ring("+5511988887777", name="Maria")
        await here.phone.wait_event("CALL_ESTABLISHED", since=mark, timeout_s=20)
        await here.far_end.wait_for(lambda s: s["call"] and s["call"]["state"] == "active", what="call", timeout_s=10)
        engine = here.engine
        assert engine is not None
        await engine.kill()
        await here.phone.wait_event("CALL_CLOSED", since=mark, timeout_s=20)
        await here.far_end.wait_for(lambda s: s["call"] is None, what="end of the call", timeout_s=20)
        assert "rtpengine at 127.0.0.1" in json.dumps((await here.readiness())["media"])
        assert (await here.status())["state"]["media"]["state"] in {"failed", "closed", "connecting"}

        async with rtpengine(tmp_path, like=engine):
            await here.wait_ready(print)
            mark = here.phone.mark()
            await here.far_end.ring("+5511988887777", name="Maria")
            await here.phone.wait_event("CALL_ESTABLISHED", since=mark, timeout_s=20)
            await here.far_end.hang_up()
            await here.phone.wait_event("CALL_CLOSED", since=mark, timeout_s=10)
