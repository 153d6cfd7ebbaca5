"""A WebRTC peer by aiortc's own peer connection: it speaks a tone and keeps what it hears."""

from __future__ import annotations

import asyncio
import fractions

import numpy as np
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from gateway.codecs.tones import tone
from tests.support.audio import Samples


class ToneTrack(MediaStreamTrack):
    """A tone in real time."""

    kind = "audio"

    def __init__(self, hz: float, level_dbfs: float) -> None:
        super().__init__()
        self._hz, self._level_dbfs = hz, level_dbfs
        self._n = 0
        self._start_s = asyncio.get_running_loop().time()

    async def recv(self) -> AudioFrame:
        """Return the next 20 ms when they are due."""
        await asyncio.sleep(max(0.0, self._start_s + self._n / 8000 - asyncio.get_running_loop().time()))
        frame = AudioFrame(format="s16", layout="mono", samples=160)
        frame.planes[0].update(tone([self._hz], self._level_dbfs, 160, start=self._n).tobytes())
        frame.sample_rate, frame.pts, frame.time_base = 8000, self._n, fractions.Fraction(1, 8000)
        self._n += 160
        return frame


class Peer:
    """A peer connection with one audio stream each way.

    Args:
        hz: the tone that it speaks.
        level_dbfs: its level.
    """

    def __init__(self, hz: float = 1000.0, level_dbfs: float = -18.0) -> None:
        self.connection = RTCPeerConnection()
        self.connection.addTrack(ToneTrack(hz, level_dbfs))
        self.heard: list[Samples] = []
        self._listening: asyncio.Task[None] | None = None
        self.connection.on("track", self._listen)

    def _listen(self, track: MediaStreamTrack) -> None:
        self._listening = asyncio.get_running_loop().create_task(self._hear(track))

    async def _hear(self, track: MediaStreamTrack) -> None:
        try:
            while True:
                frame = await track.recv()
                assert isinstance(frame, AudioFrame)
                self.heard.append(frame.to_ndarray()[0].astype(np.float64) / 32768)
        except MediaStreamError:
            pass

    async def offer(self) -> str:
        """Return a complete offer."""
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return self.connection.localDescription.sdp

    async def accept(self, answer: str) -> None:
        """Take the answer to it."""
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def answer(self, offer: str) -> str:
        """Answer an offer."""
        await self.connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        await self.connection.setLocalDescription(await self.connection.createAnswer())
        return self.connection.localDescription.sdp

    async def close(self) -> None:
        """Close it."""
        await self.connection.close()
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])
