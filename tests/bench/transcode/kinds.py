"""Who converts: Ponte, and Debian's rtpengine told to do the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.media.rtpengine.client import NgClient
from gateway.protocol.ng.bencode import Value
from tests.bench.load.candidates import Candidate, Rtpengine
from tests.bench.load.lines import Asked
from tests.bench.transcode.talkers import OPUS_TYPE


class RtpengineConverts(Rtpengine):
    """Debian's rtpengine: a phone with PCMU calls a page with Opus.

    Args:
        bitrate_bps: of the Opus that it makes. Complexity is always 10 there, frames have 20 ms, there are no copies.
    """

    def __init__(self, bitrate_bps: int) -> None:
        self._bitrate_bps = bitrate_bps

    @asynccontextmanager
    async def started(self, folder: Path, calls: int) -> AsyncIterator[Candidate]:
        """See `tests.bench.load.candidates.Kind`."""
        async with super().started(folder, calls) as candidate:
            yield _Converting(candidate, self._bitrate_bps)


class _Converting:
    def __init__(self, inner: Candidate, bitrate_bps: int) -> None:
        self.pid = inner.pid
        self._client: NgClient = inner._client  # type: ignore[attr-defined]
        self._opus = f"opus/48000/2/{bitrate_bps}"

    async def join(self, load: Asked, call: int) -> None:
        phone = (await load.ask("phone", call=call))["sdp"]
        tags: dict[str, Value] = {"call_id": f"bench-{call}", "from_tag": "phone"}
        offer = await self._client.request(
            "offer", **tags, sdp=phone, ICE="force", transport_protocol="UDP/TLS/RTP/SAVPF",
            rtcp_mux=["offer", "require"], flags=["generate-mid"],
            codec={"mask": ["PCMU"], "transcode": [self._opus]},
        )  # fmt: skip
        sdp = str(offer["sdp"])
        number = next(line.split()[0].removeprefix("a=rtpmap:") for line in sdp.splitlines() if " opus/" in line)
        page = (await load.ask("page_answer", call=call, sdp=sdp, number=int(number)))["sdp"]
        answer = await self._client.request(
            "answer", **tags, to_tag="page", sdp=page, ICE="remove", transport_protocol="RTP/AVP", rtcp_mux=["demux"]
        )
        await load.ask("phone_target", call=call, sdp=str(answer["sdp"]))

    async def settle(self) -> None:
        """See `Candidate`."""

    async def told(self) -> dict[str, int]:
        """See `Candidate`."""
        return {"opus_type": OPUS_TYPE}
