"""A worker's life as both sides see it: figures that cannot be had, lines of the log from other threads."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.media.built_in import PlaneSettings
from gateway.worker.__main__ import _LogStream
from gateway.worker.process import WorkerLimits, WorkerProcess
from tests.unit.worker.test_channel import Ends, Wire

pytestmark = pytest.mark.unit


async def test_a_worker_whose_figures_cannot_be_had_is_kept() -> None:
    asked = 0
    enough = asyncio.Event()

    def figures() -> tuple[()]:
        nonlocal asked
        asked += 1
        if asked < 4:
            raise ValueError("a counter went down")
        if asked > 5:
            enough.set()
        return ()

    ends = Ends(start=lambda *_, **__: None, figures=figures)
    process = WorkerProcess(0, PlaneSettings(port_range=(20_000, 20_099)), {}, limits=WorkerLimits(look_s=0.001))
    attending = asyncio.ensure_future(process._attend(ends.near, cast(Any, SimpleNamespace(pid=1))))
    await asyncio.wait([attending, asyncio.ensure_future(enough.wait())], return_when=asyncio.FIRST_COMPLETED)
    assert not attending.done()
    assert process.channel is ends.near
    ends.near.closed.set()
    assert await attending == ""


async def test_a_line_of_another_thread_is_sent_by_the_loops() -> None:
    threads: set[int] = set()
    heard: list[str] = []
    both = asyncio.Event()

    class Watched(Wire):
        def write(self, data: bytes | bytearray | memoryview) -> None:
            threads.add(threading.get_ident())
            super().write(data)

    def log(line: str) -> None:
        heard.append(line)
        if len(heard) == 2:
            both.set()

    ends = Ends(log=log)
    wire = Watched()
    wire.far = ends.far
    ends.near.connection_made(wire)
    stream = _LogStream(ends.near)
    stream.write("ours\n")
    await asyncio.to_thread(stream.write, "another's\n")
    await asyncio.wait_for(both.wait(), 5)
    assert heard == ["ours", "another's"]
    assert threads == {threading.get_ident()}
