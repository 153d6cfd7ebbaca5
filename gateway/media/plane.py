"""What call control asks of the media plane: rtpengine's verbs, with SDP of the SIP side in and out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from gateway.domain.ids import CallId
from gateway.domain.recording import RecordingSpec, RecordingStatus, RecordingUnavailable
from gateway.media.keys import OnKey
from gateway.media.link import OnLost
from gateway.media.page_side import PageSide
from gateway.protocol.sdp import Negotiated, NoCommonCodec

__all__ = ["PLANE_LOST", "DirectionStats", "MediaPlane", "MediaStats", "Negotiated", "NoCommonCodec", "combined"]

PLANE_LOST: Final = "media_plane_lost"
"""The cause that `OnLost` is told where the plane itself lost a call, and not the peer."""


@dataclass(frozen=True, slots=True)
class DirectionStats:
    """One direction of a call.

    Attributes:
        packets: received for this direction.
        bytes: of their payloads.
        passed: packets sent on.
        lost: packets that never came, by their sequence numbers.
        loss_runs: holes that they left: how many were lost in a row is the one over the other.
        jitter_ms: of their arrival (RFC 3550 A.8).
        last_packet_s: monotonic instant of the last one, None before the first.
        source_changes: times that another source, or a jump in its numbers, was seen.
        transcoded: packets whose codec the other side does not speak, turned into one that it does.
        keys: telephone keys that were taken from telephone-events, or heard and sent as such.
        muted: packets sent on as silence, since a key was being told or played.
        concealed_ms: sound made in the place of lost packets while converting; what passes is not concealed here.
        reorder_ms: how long packets are held back now while converting, to be put in order.
        came_dbfs: loudest of what came in about the last second; None where nothing did, or its codec does not tell.
        went_dbfs: the same of what was sent on.
        dropped: packets not sent on, by cause.
        dropped_payload_types: of those, how many by payload type.
    """

    packets: int = 0
    bytes: int = 0
    passed: int = 0
    lost: int = 0
    loss_runs: int = 0
    jitter_ms: float = 0.0
    last_packet_s: float | None = None
    source_changes: int = 0
    transcoded: int = 0
    keys: int = 0
    muted: int = 0
    concealed_ms: float = 0.0
    reorder_ms: int = 0
    came_dbfs: float | None = None
    went_dbfs: float | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    dropped_payload_types: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MediaStats:
    """A call's media.

    Attributes:
        wa_to_sip: from the page to the SIP peer.
        sip_to_wa: from the SIP peer to the page.
        round_trip_ms: to the SIP peer, by its RTCP; None before it said.
        peer_lost: of our packets, as the SIP peer says; with those that were lost before us.
        peer_jitter_ms: of our packets, as the SIP peer says.
        page_round_trip_ms: to the page, by its RTCP; None before it said.
        page_lost: of the packets for the page, as it says; with those that were lost before us.
        page_jitter_ms: of these packets, as the page says.
        late_ms: how late the packet path came to its work, on average: what our own machine adds to the delay.
        source_moves: times that a source other than the SDP's was believed.
        last_rtp_s: monotonic instant of the SIP peer's last RTP packet, of any payload type, on hold too; None before
            the first.
        last_rtcp_s: the same of its RTCP.
        recording: what a recording of the call is, or at its end left; None where there is none.
    """

    wa_to_sip: DirectionStats = field(default_factory=DirectionStats)
    sip_to_wa: DirectionStats = field(default_factory=DirectionStats)
    round_trip_ms: float | None = None
    peer_lost: int = 0
    peer_jitter_ms: float = 0.0
    page_round_trip_ms: float | None = None
    page_lost: int = 0
    page_jitter_ms: float = 0.0
    late_ms: float = 0.0
    source_moves: int = 0
    last_rtp_s: float | None = None
    last_rtcp_s: float | None = None
    recording: RecordingStatus | None = None


def combined(earlier: MediaStats | None, later: MediaStats) -> MediaStats:
    """Return the figures of a call whose SIP side was moved: sums, and what is no sum as it was last."""
    if earlier is None:
        return later
    return replace(
        later,
        wa_to_sip=_summed(earlier.wa_to_sip, later.wa_to_sip),
        sip_to_wa=_summed(earlier.sip_to_wa, later.sip_to_wa),
        peer_lost=earlier.peer_lost + later.peer_lost,
        page_lost=earlier.page_lost + later.page_lost,
        source_moves=earlier.source_moves + later.source_moves,
    )


def _summed(earlier: DirectionStats, later: DirectionStats) -> DirectionStats:
    return DirectionStats(
        packets=earlier.packets + later.packets,
        bytes=earlier.bytes + later.bytes,
        passed=earlier.passed + later.passed,
        lost=earlier.lost + later.lost,
        loss_runs=earlier.loss_runs + later.loss_runs,
        jitter_ms=later.jitter_ms,
        last_packet_s=later.last_packet_s if later.last_packet_s is not None else earlier.last_packet_s,
        source_changes=earlier.source_changes + later.source_changes,
        transcoded=earlier.transcoded + later.transcoded,
        keys=earlier.keys + later.keys,
        muted=earlier.muted + later.muted,
        concealed_ms=earlier.concealed_ms + later.concealed_ms,
        reorder_ms=later.reorder_ms,
        came_dbfs=later.came_dbfs,
        went_dbfs=later.went_dbfs,
        dropped=dict(Counter(earlier.dropped) + Counter(later.dropped)),
        dropped_payload_types=dict(Counter(earlier.dropped_payload_types) + Counter(later.dropped_payload_types)),
    )


class MediaPlane(Protocol):
    """A media plane. Every method but `delete` raises `Unavailable` where the plane itself is down."""

    def page_side(self) -> PageSide:
        """Return a new page's side of this plane, to be closed when the page is given up."""

    async def create_offer(
        self, call_id: CallId, *, local_address: str, webrtc: bool = False, page: PageSide | None = None
    ) -> str:
        """Make a call and return our offer.

        Args:
            call_id: the call.
            local_address: IP address that the SIP peer reaches us by.
            webrtc: the peer is a WebRTC client (ICE, DTLS-SRTP); an offer of its own says so by itself.
            page: whom the call will be connected to. A plane of several engines makes the call where the page's leg
                is; without it, `connect` may find the two apart and refuse.
        """

    async def accept_answer(self, call_id: CallId, answer_sdp: str) -> Negotiated:
        """Take the answer to our last offer; once more for a 200 after a 183.

        Raises:
            NoCommonCodec: the peer refused the audio.
            RemoteProtocolError: it is malformed.
        """

    async def answer_offer(
        self, call_id: CallId, offer_sdp: str, *, local_address: str, page: PageSide | None = None
    ) -> tuple[str, Negotiated]:
        """Answer the peer's offer, of a new call or of a re-INVITE. Where it raises, a running call is unchanged.

        Args:
            call_id: the call.
            offer_sdp: the peer's.
            local_address: IP address that the SIP peer reaches us by.
            page: as in `create_offer`.

        Raises:
            NoCommonCodec: there is no audio in it that we speak.
            RemoteProtocolError: it is malformed.
        """

    async def reoffer(self, call_id: CallId, *, local_address: str) -> str:
        """Return an offer for a running call, for an offerless re-INVITE."""

    def connect(
        self, call_id: CallId, page: PageSide, on_key: OnKey | None = None, on_lost: OnLost | None = None
    ) -> None:
        """Let packets flow between the SIP peer and *page* from now on.

        Returns at once. A plane that has to ask its engine, or the page, first does that in a task of its own; what
        comes to nothing there is told to *on_lost*.

        Args:
            call_id: the call.
            page: the page's side, of this plane.
            on_key: takes each key that the peer signals in the media (RFC 4733), once, when it is over. While it is
                held the peer's audio is silenced.
            on_lost: told once where the peer's media cannot be connected or is gone for good. Of peers only those with
                WebRTC tell (ICE, DTLS); plain RTP that falls silent may be a muted phone. `PLANE_LOST` where the
                plane's own engine is gone.
        """

    def mute(self, call_id: CallId, duration_s: float) -> None:
        """Silence the SIP peer's audio towards the page from now on for *duration_s*; not less than before."""

    def silence(self, call_id: CallId, *, wa_to_sip: bool, sip_to_wa: bool) -> None:
        """Send silence instead of the audio of these directions from now on; of the others, the audio again."""

    def play(self, call_id: CallId, cadence: str) -> None:
        """Let the SIP peer hear a tone instead of the page from now on; the page hears nothing of it.

        Args:
            call_id: the call.
            cadence: of the tone (`gateway.domain.call_tones.parse_cadence`), repeated; empty: the page again.
        """
        return

    async def record(
        self, call_id: CallId, spec: RecordingSpec, on_failed: Callable[[RecordingStatus], None]
    ) -> RecordingStatus:
        """Record a call from now on, or go on with its recording after `stop_recording`, in the same file.

        Args:
            call_id: the call.
            spec: how; of a recording that goes on only its announcement counts.
            on_failed: told once where the recording fails later (a full disk, for example); the call goes on.

        Returns:
            Where it is; FAILED where it could not begin, which is then not told again.

        Raises:
            RecordingUnavailable: this plane does not record.
        """
        raise RecordingUnavailable("This media plane does not record calls")

    async def stop_recording(self, call_id: CallId) -> RecordingStatus | None:
        """Write what was heard so far, and no more; None where there is no recording."""
        return None

    def move_recording(self, call_id: CallId, to: CallId) -> None:
        """Go on with a call's recording in another session, which the call goes on with; before `delete`."""
        return

    def query(self, call_id: CallId) -> MediaStats:
        """Return the figures of a call, up to a second old; none yet for one that the plane does not know."""

    async def delete(self, call_id: CallId) -> MediaStats:
        """End a call's media and return its last figures. An unknown call gives empty ones."""
