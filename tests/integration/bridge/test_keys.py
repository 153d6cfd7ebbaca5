"""Keys of the phone, signalled in its RTP or by INFO, played by the page."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.bridge.flows import sip_to_whatsapp
from gateway.bridge.keys import MAX_WAITING, KeyPlayer
from gateway.domain.errors import Unavailable
from gateway.domain.page_call import PageActive, PageRinging
from gateway.domain.states import Direction
from gateway.protocol.dtmf import PAYLOAD, KeyPress
from gateway.sip import Answered, OutgoingInvite
from tests.integration.bridge.rig import Rig, bridge_rig, phone_sdp, udp_socket
from tests.integration.bridge.test_flows import media_port, next_of, until
from tests.support.sip_sipp import start_sipp

pytestmark = pytest.mark.integration

EVENTS = "0 101\r\na=rtpmap:101 telephone-event/8000"


async def in_call(rig: Rig, ear: socket.socket) -> tuple[OutgoingInvite, asyncio.Task[object], int]:
    phone, task, _ = await rig.phone_dials(phone_sdp(ear.getsockname()[1], EVENTS))
    rig.page.call.emit(PageActive())
    answered = await next_of(phone, Answered)
    return phone, task, media_port(answered.sdp)


def send(ear: socket.socket, port: int, sequence: int, payload_type: int, timestamp: int, payload: bytes) -> None:
    ear.sendto(struct.pack("!BBHII", 0x80, payload_type, sequence, timestamp, 7) + payload, ("127.0.0.1", port))


async def test_keys_in_the_media_are_played_one_after_the_other() -> None:
    async with bridge_rig() as rig:
        with udp_socket() as ear:
            phone, task, port = await in_call(rig, ear)
            send(ear, port, 0, 0, 0, bytes(160))
            sequence = 0
            for index, code in enumerate((1, 1, 11)):
                for duration, flags in ((160, 10), (480, 10), (800, 0x8A), (800, 0x8A), (800, 0x8A)):
                    sequence += 1
                    send(ear, port, sequence, 101, 1000 * (index + 1), PAYLOAD.pack(code, flags, duration))
            await until(lambda: len(rig.page.keys) == 3)
            assert rig.page.keys == [("1", 100), ("1", 100), ("#", 100)]
            send(ear, port, sequence + 1, 0, 9000, bytes(range(160)))
            await until(lambda: len(rig.port.sent) == 2)
            assert rig.port.sent[1][12:] == b"\xff" * 160  # while the last tone sounds
            await phone.bye()
            await task


async def test_keys_by_info_are_played_and_silence_the_phone(tmp_path: Path) -> None:
    async with bridge_rig() as rig:
        sipp = await start_sipp(tmp_path, "uac_info", remote=rig.sip.callee.listener.port)
        invite = await asyncio.wait_for(rig.sip.calls.get(), 5)
        call = rig.call(Direction.SIP_TO_WHATSAPP)
        task = rig.tasks.create_task(
            rig.run(call, lambda one: sip_to_whatsapp(one, invite, rig.page, "5511987654321", rig.sip.callee))
        )
        rig.page.call.emit(PageRinging(), PageActive())
        await until(lambda: len(rig.page.keys) == 3)
        assert rig.page.keys == [("5", 80), ("#", 120), ("7", 160)]
        await sipp.wait()
        await task


class Page:
    """Plays at once, or cannot."""

    def __init__(self) -> None:
        self.played: list[tuple[str, int, float]] = []
        self.muted: list[float] = []
        self.broken = False

    async def play(self, digit: str, duration_ms: int) -> None:
        if self.broken:
            raise Unavailable("no page")
        self.played.append((digit, duration_ms, asyncio.get_running_loop().time()))

    def player(self) -> KeyPlayer:
        return KeyPlayer(self.play, self.muted.append)


async def run(player: KeyPlayer, done: Callable[[], bool]) -> None:
    task = asyncio.create_task(player.run())
    await until(done)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_tones_do_not_overlap_and_each_is_muted_for() -> None:
    page = Page()
    player = page.player()
    for digit, ms in (("1", 100), ("1", 20), ("2", 60)):
        player.press(KeyPress(digit, ms), "event")
    await run(player, lambda: len(page.played) == 3)
    (one, first, at_1), (two, second, at_2), (_, _, at_3) = page.played
    assert (one, first, two, second) == ("1", 100, "1", 50)
    assert at_2 - at_1 >= 0.1 + 0.04
    assert at_3 - at_2 >= 0.05 + 0.04
    assert all(seconds > ms / 1000 for seconds, (_, ms, _) in zip(page.muted, page.played, strict=True))


async def test_a_key_that_is_told_in_two_ways_is_played_once() -> None:
    page = Page()
    player = page.player()
    player.press(KeyPress("1", 50), "event")
    player.press(KeyPress("1", 160), "info")
    player.press(KeyPress("2", 50), "event")
    await run(player, lambda: len(page.played) == 2)
    assert ([digit for digit, _, _ in page.played], player.dropped) == (["1", "2"], 1)


async def test_too_many_keys_and_a_page_that_cannot_play_end_nothing() -> None:
    page = Page()
    page.broken = True
    player = page.player()
    for _ in range(MAX_WAITING + 1):
        player.press(KeyPress("1", 50), "info")
    assert player.dropped == 1
    task = asyncio.create_task(player.run())
    await until(lambda: player.dropped >= 3)
    page.broken = False
    await until(lambda: player.played == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
