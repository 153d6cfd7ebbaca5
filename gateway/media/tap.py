"""What hears a call's packets where they are sent on: its recording, and the announcement of it."""

from __future__ import annotations

from gateway.media.announcement import Announcement, Playing
from gateway.media.recorder import Direction, Recorder
from gateway.protocol.rtp import HEADER_BYTES


class Tap:
    """Stands beside a call's session; moves with the call when its SIP side is moved.

    Args:
        recorder: takes what is sent on. What a side is not let hear (hold, mute, a key) is not recorded either.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self._playing: dict[Direction, Playing] = {}

    def announce(self, announcement: Announcement | None) -> None:
        """Let both sides hear *announcement* from now on."""
        if announcement is not None:
            self._playing = {"wa_to_sip": Playing(announcement), "sip_to_wa": Playing(announcement)}

    def passed(self, direction: Direction, codec: str | None, packet: bytes, now_s: float) -> bytes:
        """Take a packet that is about to be sent on; returns what is sent.

        Args:
            direction: its way.
            codec: of its payload; None for a telephone-event.
            packet: RTP without extension or padding.
            now_s: monotonic instant of its arrival.
        """
        if codec is None:
            return packet
        playing = self._playing.get(direction)
        if playing is not None:
            payload = packet[HEADER_BYTES:]
            heard = playing.instead(codec, payload)
            if heard is not payload:
                packet = packet[:HEADER_BYTES] + heard
            if playing.over:
                del self._playing[direction]
        self.recorder.hear(direction, codec, packet, now_s)
        return packet
