"""``python -m tests.demo``: bridge one call in each direction, measure both, and say whether every figure holds."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Final, get_args

from gateway.domain.codecs import CODECS
from tests.demo import chrome as chromes
from tests.demo.call import Direction, Script, write_script
from tests.demo.farend import FarEndError
from tests.demo.measure import Limits
from tests.demo.measured import Measured, measured_call
from tests.demo.report import document, table, write
from tests.demo.world import ROOT, Ports, World, WorldError, WorldOptions, world
from tests.support.baresip import PhoneError
from tests.support.processes import ProcessFailed
from tests.support.wire import NoTap

_TROUBLE: Final = (FarEndError, NoTap, OSError, PhoneError, ProcessFailed, TimeoutError, WorldError)


def _sayer() -> Callable[[str], None]:
    started_s = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - started_s:6.1f} s] {text}", flush=True)

    return say


async def _calls(
    here: World, script: Script, limits: Limits, folder: Path, say: Callable[[str], None]
) -> list[Measured]:
    spoken = await asyncio.to_thread(write_script, script, seed=1)
    results = []
    for direction in get_args(Direction):
        say(f"call: {direction}")
        results.append(await measured_call(here, direction, spoken, folder, say, limits=limits))
    return results


async def _demo(arguments: argparse.Namespace) -> int:
    say = _sayer()
    _cancel_on_sigterm()
    out: Path = arguments.out
    script = Script(tone_s=arguments.tone, speech_s=arguments.speech, bursts=arguments.bursts)
    limits = Limits(latency_count=min(20, script.bursts))
    trouble: list[str] = []
    with tempfile.TemporaryDirectory(prefix="ponte-demo-", ignore_cleanup_errors=True) as scratch:
        options = WorldOptions(
            folder=Path(scratch),
            ports=Ports.free(),
            with_helper=arguments.helper,
            url_form=arguments.chrome_url_form,
            codec=arguments.codec,
            media=arguments.media,
        )
        try:
            async with world(options, say) as here:
                say("POST /call/bridge/config")
                await here.configure(await here.configuration())
                await here.wait_ready(say)
                if arguments.kill_chrome:
                    say("kill -9 of Chromium")
                    await chromes.kill(here.chrome)
                    await here.wait_lost()
                    await here.wait_ready(say)
                results = await _calls(here, script, limits, out / "demo", say)
        except _TROUBLE as error:
            results, trouble = [], [str(error) or type(error).__name__]
        finally:
            _keep_logs(Path(scratch), out / "demo" / "logs")
    figures = [result.figures for result in results if result.figures]
    failed = [*trouble, *(sentence for result in results for sentence in result.failed)]
    if figures:
        print("\n" + table(figures, limits) + "\n")
    content = document(figures, failed=failed, limits=limits)
    content["options"] = {
        "helper": arguments.helper, "chrome_url_form": arguments.chrome_url_form, "kill_chrome": arguments.kill_chrome,
        "codec": arguments.codec, "media": arguments.media,
    }  # fmt: skip
    content["machine"] = [asdict(result.busy) for result in results]
    write(out / "demo.json", content)
    print(f"figures: {out / 'demo.json'}    recordings and logs: {out / 'demo'}/")
    for sentence in failed:
        print(f"FAILED {sentence}")
    if not failed:
        print("every figure holds")
    return 1 if failed else 0


def _keep_logs(scratch: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for log in scratch.rglob("*.log"):
        (target / log.name).write_bytes(log.read_bytes())


def _cancel_on_sigterm() -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def main() -> int:
    """Parse the command line and run."""
    usual = Script()
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    parser.add_argument("--helper", action=argparse.BooleanOptionalAction, default=True, help="run the node helper")
    parser.add_argument(
        "--chrome-url-form", choices=get_args(chromes.UrlForm), default="ws", help="form of chromeRemoteURL"
    )
    parser.add_argument("--kill-chrome", action="store_true", help="kill -9 Chromium first, and wait for the next one")
    parser.add_argument("--codec", choices=list(CODECS), default="PCMU", help="the only one that the phone speaks")
    parser.add_argument("--media", choices=["built-in", "rtpengine"], default="built-in", help="what carries the audio")
    parser.add_argument("--tone", type=float, default=usual.tone_s, metavar="S", help="seconds of tone")
    parser.add_argument("--speech", type=float, default=usual.speech_s, metavar="S", help="seconds of speech")
    parser.add_argument("--bursts", type=int, default=usual.bursts, metavar="N", help="bursts for the latency")
    parser.add_argument("--out", type=Path, default=ROOT / "build", metavar="FOLDER", help="for demo.json and demo/")
    try:
        return asyncio.run(_demo(parser.parse_args()))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130


if __name__ == "__main__":
    sys.exit(main())
