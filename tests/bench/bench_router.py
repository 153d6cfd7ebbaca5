"""CPU per call-second of PCMU passed through both ways, 50 packets per second each way, SRTP towards the page.

`python -m tests.bench.bench_router --calls 20 --seconds 10` prints one JSON object. The router and its legs run in this
process, whose CPU time is measured; the far ends (pages and SIP peers) run in a child.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import socket
import sys
import time
from typing import Any

from gateway.domain.ids import CallId
from gateway.media.router import PacketRouter
from gateway.protocol.rtp import HEADER
from gateway.protocol.sdp import LocalMedia, SdpSession
from gateway.webrtc.leg import WebRtcLeg
from gateway.webrtc.sdp import LocalPart, build_offer, parse_answer
from gateway.webrtc.seam import IcePath, Transports

HOST = "127.0.0.1"
PAYLOAD = b"\xff" * 160


class FarEnd:
    """The page and the SIP peer of one call."""

    def __init__(self) -> None:
        self.heard = {"page": 0, "sip": 0}
        self.delays: list[float] = []
        self.sip = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sip.bind((HOST, 0))
        self.sip.setblocking(False)
        self.page = Transports(
            IcePath(addresses=[HOST], stun_url="", controlling=True),
            on_change=lambda: None,
            on_rtp=self._page_heard,
            on_rtcp=lambda packet: None,
        )
        self.sequence = 0
        asyncio.get_running_loop().add_reader(self.sip, self._sip_heard)

    def _page_heard(self, packet: bytes) -> None:
        self.heard["page"] += 1
        self.delays.append(time.monotonic() - float(packet[12:30]))

    def _sip_heard(self) -> None:
        packet = self.sip.recv(2048)
        self.heard["sip"] += 1
        self.delays.append(time.monotonic() - float(packet[12:30]))

    async def answer(self, offer: str) -> str:
        await self.page.gather()
        username, password = self.page.path.credentials()
        own = LocalPart(username, password, self.page.fingerprint(), self.page.path.candidates(), 7, "far", 1)
        return build_offer(own).replace("actpass", "active")

    async def connect(self, offer: str) -> None:
        remote = parse_answer(offer.replace("actpass", "passive"))
        await self.page.path.connect(remote.username, remote.password, lite=False, candidates=remote.candidates)
        await self.page.connect_dtls(remote.fingerprints, server=False)

    def send(self, to: tuple[str, int]) -> None:
        self.sequence += 1
        header = HEADER.pack(0x80, 0, self.sequence & 0xFFFF, self.sequence * 160 & 0xFFFFFFFF, 99)
        packet = header + f"{time.monotonic():018.9f}".encode() + PAYLOAD[18:]
        self.sip.sendto(packet, to)
        self.page.send_rtp(header + f"{time.monotonic():018.9f}".encode() + PAYLOAD[18:])


async def far_ends(calls: int, seconds: float) -> None:
    """The child: answers what it reads on stdin, then sends."""
    loop = asyncio.get_running_loop()

    async def line() -> Any:
        return json.loads(await loop.run_in_executor(None, sys.stdin.readline))

    ends, targets = [], []
    for _ in range(calls):
        end = FarEnd()
        request = await line()
        session = SdpSession(1)
        media = LocalMedia(HOST, end.sip.getsockname()[1], 9)
        answer, negotiated = session.answer_offer(request["sip"], media)
        page = await end.answer(request["page"])
        print(json.dumps({"sip": answer, "page": page}), flush=True)
        await asyncio.wait_for(end.connect(request["page"]), 10)
        ends.append(end)
        targets.append(negotiated.remote)
    await line()
    start = time.monotonic()
    step = 0.02 / calls  # calls are spread over the 20 ms, as they are in life
    for n in range(int(seconds * 50)):
        for index, end in enumerate(ends):
            end.send(targets[index])
            wait = start + n * 0.02 + index * step - time.monotonic()
            if wait > 0.0005:
                await asyncio.sleep(wait)
    await asyncio.sleep(0.2)
    delays = sorted(delay for end in ends for delay in end.delays)
    heard = {side: sum(end.heard[side] for end in ends) for side in ("page", "sip")}
    print(
        json.dumps(
            {"heard": heard, "p50_ms": delays[len(delays) // 2] * 1e3, "p99_ms": delays[-len(delays) // 100] * 1e3}
        )
    )
    for end in ends:
        loop.remove_reader(end.sip)
        end.sip.close()
        await end.page.close()


async def bench(calls: int, seconds: float) -> dict[str, Any]:
    """Return the figures of one run."""
    router = PacketRouter()
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.bench_router", "--far", "--calls", str(calls), "--seconds", str(seconds),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert child.stdin is not None
    assert child.stdout is not None
    legs = []
    try:
        for index in range(calls):
            leg, call_id = WebRtcLeg(addresses=[HOST]), CallId(f"bench-{index}")
            legs.append(leg)
            request = {"sip": await router.create_offer(call_id, local_address=HOST), "page": await leg.offer()}
            child.stdin.write(json.dumps(request).encode() + b"\n")
            reply = json.loads(await asyncio.wait_for(child.stdout.readline(), 10))
            await router.accept_answer(call_id, reply["sip"])
            await leg.accept(reply["page"])
            router.connect(call_id, leg)
        child.stdin.write(b"{}\n")
        before = resource.getrusage(resource.RUSAGE_SELF)
        started = time.monotonic()
        far = json.loads(await asyncio.wait_for(child.stdout.readline(), seconds * 3 + 10))
        after = resource.getrusage(resource.RUSAGE_SELF)
        elapsed = time.monotonic() - started
        user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
        packets = sum(far["heard"].values())
        return {
            "calls": calls,
            "seconds": round(elapsed, 1),
            "cpu_ms_per_call_second": round((user + system) * 1000 / (calls * seconds), 2),
            "user_ms_per_call_second": round(user * 1000 / (calls * seconds), 2),
            "cpu_us_per_packet": round((user + system) * 1e6 / packets, 1),
            "packets": packets,
            "missing": calls * int(seconds * 50) * 2 - packets,
            "latency_p50_ms": round(far["p50_ms"], 2),
            "latency_p99_ms": round(far["p99_ms"], 2),
        }
    finally:
        for leg in legs:
            await leg.close()
        await router.close()
        if child.returncode is None:
            child.stdin.close()
            try:
                await asyncio.wait_for(child.wait(), 5)
            except TimeoutError:
                child.kill()
                await child.wait()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--far", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.far:
        asyncio.run(far_ends(options.calls, options.seconds))
    else:
        print(json.dumps(asyncio.run(bench(options.calls, options.seconds))))


if __name__ == "__main__":
    main()
