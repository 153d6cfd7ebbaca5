"""Records a call of two tones until it is killed: ``python -m … FOLDER FORMAT [MAX_BYTES]``.

Prints for how many seconds it has sent, once a second. With a limit of the file's size it says what became of the
recording, and whether the call goes on.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time

from gateway.domain.ids import CallId
from gateway.domain.recording import RecordingFormat, RecordingSpec, RecordingStatus
from gateway.media.router import PacketRouter
from tests.support.two_tones import LEFT_HZ, RIGHT_HZ, Ends


async def main(folder: str, kind: str, limit_bytes: int | None) -> None:
    """Send and record."""
    if limit_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
    router = PacketRouter(port_range=(41_000, 41_999))
    ends = await Ends.make(router, CallId("killed"))
    failed: list[RecordingStatus] = []
    await router.record(CallId("killed"), RecordingSpec(folder, "killed", RecordingFormat(kind)), failed.append)
    begun = time.monotonic()
    said = 0
    for n in range(3000):  # a minute at most
        ends.speak(n, LEFT_HZ, RIGHT_HZ)
        await asyncio.sleep(max(0.0, begun + (n + 1) * 0.02 - time.monotonic()))
        if time.monotonic() - begun >= said + 1:
            said += 1
            print(f"{time.monotonic() - begun:.3f}", flush=True)
        if failed:
            before = ends.heard_by_page
            ends.speak(n + 1, LEFT_HZ, RIGHT_HZ)
            await asyncio.sleep(0.2)
            print(
                f"failed {failed[0].reason} {failed[0].duration_s:.3f} heard {ends.heard_by_page - before}", flush=True
            )
            return


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else None))
