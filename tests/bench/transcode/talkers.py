"""Both ends of each call: pages with Opus alone, phones with PCMU alone, all of which read the same recorded speech.

A process of its own, asked as `tests.bench.load.lines` says; the commands are those of `tests.bench.load.generator`,
but for `run`: it takes the file for what call 0 was sent, both ways, with the instants of arrival.
"""

from __future__ import annotations

import asyncio
import pickle
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import uvloop

from gateway.codecs.libopus import OpusLibrary
from gateway.codecs.sound import OpusSettings, SoundCodecs
from gateway.protocol.rtp import HEADER
from tests.bench.load.generator import Page
from tests.bench.load.lines import answer_lines
from tests.bench.load.sdp import HOST, plain, plain_target, webrtc_transport
from tests.support.audio import Samples
from tests.support.audio_codecs import Encoder
from tests.support.recorded_speech import recorded

OPUS_TYPE: Final = 111
_PER_S: Final = 50
_PAGE_BPS: Final = 32_000  # what Chrome sends unless it is told otherwise


def with_opus(sdp: str, number: int) -> str:
    """Return SDP of `tests.bench.load.sdp` with Opus, as payload type *number*, in the place of PCMU."""
    lines = []
    for line in sdp.splitlines():
        if line.startswith("m=audio"):
            lines.append(line.removesuffix(" 0 101") + f" {number}")
        elif line.startswith("a=rtpmap:0"):
            lines += [f"a=rtpmap:{number} opus/48000/2", f"a=fmtp:{number} useinbandfec=1"]
        elif not line.startswith(("a=rtpmap:101", "a=fmtp:101")):
            lines.append(line)
    return "\r\n".join(lines) + "\r\n"


@dataclass
class Call:
    """Both ends of one."""

    phone: socket.socket
    target: tuple[str, int] = ("", 0)
    page: Page | None = None
    heard: dict[str, list[tuple[float, bytes]]] = field(default_factory=lambda: {"phone": [], "page": []})
    counts: dict[str, int] = field(default_factory=lambda: {"phone": 0, "page": 0})
    keep: bool = False
    opus_type: int = OPUS_TYPE


class Talkers:
    """All calls of a run."""

    def __init__(self) -> None:
        speech = recorded()
        self.loop = asyncio.get_running_loop()
        self.calls: dict[int, Call] = {}
        self.connecting: list[asyncio.Task[None]] = []
        self.ulaw = self._coded("PCMU", speech.at(8000))
        self.opus = self._opus(speech.at(48_000))
        self.sent = 0

    @staticmethod
    def _coded(codec: str, sound: Samples) -> list[bytes]:
        encoder = Encoder(codec)
        step = encoder.frame
        return [encoder.encode(sound[at : at + step]) for at in range(0, len(sound) - step + 1, step)]

    @staticmethod
    def _opus(sound: Samples) -> list[bytes]:
        encoder = SoundCodecs(OpusLibrary(), OpusSettings(wide_bps=_PAGE_BPS, complexity=9)).encoder("opus", 48_000, 20)
        raw = (sound * 32767).astype("int16").tobytes()
        return [encoder.encode(raw[at : at + 1920]) for at in range(0, len(raw) - 1919, 1920)]

    async def do(self, command: dict[str, Any]) -> dict[str, Any]:
        """Do what a line says; return the answer."""
        number, sdp = command.get("call", 0), command.get("sdp", "")
        match command["do"]:
            case "phone":
                phone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                phone.bind((HOST, 0))
                phone.setblocking(False)
                call = self.calls[number] = Call(phone, keep=number == 0)
                self.loop.add_reader(phone, self._phone_hears, call)
                return {"sdp": plain(phone.getsockname()[1]).replace(" 0 101", " 0").replace(_EVENTS, "")}
            case "phone_target":
                self.calls[number].target = plain_target(sdp)
            case "page_answer":
                call = self.calls[number]
                call.page = Page(2 * number + 2, calls=False)
                call.page.transports = type(call.page.transports)(
                    call.page.transports.path,
                    on_change=lambda: None, on_rtp=lambda packet, _: self._hears(call, "page", packet),
                    on_rtcp=lambda packet: None,
                )  # fmt: skip
                call.opus_type = int(command.get("number", OPUS_TYPE))
                answer = with_opus(await call.page.sdp("active"), call.opus_type)
                self.connecting.append(self.loop.create_task(call.page.connect(webrtc_transport(sdp), server=False)))
                return {"sdp": answer}
            case "connected":
                await asyncio.gather(*self.connecting)
                self.connecting.clear()
            case "run":
                return await self._run(float(command["seconds"]), command.get("keep"))
            case unknown:
                raise ValueError(f"unknown command {unknown}")
        return {}

    def _phone_hears(self, call: Call) -> None:
        try:
            self._hears(call, "phone", call.phone.recv(2048))
        except OSError:
            return

    def _hears(self, call: Call, side: str, packet: bytes) -> None:
        call.counts[side] += 1
        if call.keep:
            call.heard[side].append((time.monotonic(), packet))

    async def _run(self, seconds: float, keep: str | None) -> dict[str, Any]:
        for call in self.calls.values():
            call.counts.update(phone=0, page=0)
            call.heard = {"phone": [], "page": []}
        first, rounds, loop = self.sent, round(seconds * _PER_S), self.loop
        start, step = loop.time(), 1 / _PER_S / max(1, len(self.calls))
        for n in range(first, first + rounds):
            for place, call in enumerate(self.calls.values()):
                wait = start + (n - first) / _PER_S + place * step - loop.time()
                if wait > 0.0005:
                    await asyncio.sleep(wait)
                self._say(call, n)
        self.sent += rounds
        await asyncio.sleep(0.3)
        if keep is not None:
            said = {"first": first, "heard": self.calls[0].heard}
            await asyncio.to_thread(Path(keep).write_bytes, pickle.dumps(said))
        heard = sum(sum(call.counts.values()) for call in self.calls.values())
        return {"sent": 2 * rounds * len(self.calls), "heard": heard}

    def _say(self, call: Call, n: int) -> None:
        assert call.page is not None
        sequence = n & 0xFFFF
        call.phone.sendto(
            HEADER.pack(0x80, 0, sequence, n * 160 & 0xFFFFFFFF, 7) + self.ulaw[n % len(self.ulaw)], call.target
        )
        header = HEADER.pack(0x80, call.opus_type, sequence, n * 960 & 0xFFFFFFFF, call.page.ssrc)
        call.page.transports.send_rtp(header + self.opus[n % len(self.opus)])

    async def close(self) -> None:
        """Close every socket."""
        for task in self.connecting:
            task.cancel()
        await asyncio.gather(*self.connecting, return_exceptions=True)
        for call in self.calls.values():
            self.loop.remove_reader(call.phone)
            call.phone.close()
        await asyncio.gather(*(call.page.transports.close() for call in self.calls.values() if call.page))


_EVENTS: Final = "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n"


async def main() -> None:
    """Serve the commands of stdin."""
    talkers = Talkers()
    try:
        await answer_lines(talkers.do)
    finally:
        await talkers.close()


if __name__ == "__main__":
    uvloop.run(main())
