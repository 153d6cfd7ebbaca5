"""The media of one call: its link to the SIP peer, its packet paths, its RTCP. Nothing in the packet path awaits."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from gateway.codecs.sound import SoundCodecs
from gateway.domain.call_tones import parse_cadence
from gateway.domain.codecs import G722, PCMA, PCMU
from gateway.domain.errors import RemoteProtocolError
from gateway.media.call_tone import CallTone
from gateway.media.conversion import Conversion, ConversionStats
from gateway.media.ear import Ears
from gateway.media.far import FarLoss
from gateway.media.keys import KeyTap, KeyWatch, OnKey
from gateway.media.link import LinkUser, MediaLink, OnLost
from gateway.media.path import PacketPath, Route, routes
from gateway.media.plane import DirectionStats, MediaStats
from gateway.media.port import ContinuousPort, ReportingPort, RtpPort
from gateway.media.repacketize import PAGE_PTIME_MS, Repacketizer
from gateway.media.tap import Tap
from gateway.protocol.rtcp import Reporter
from gateway.protocol.rtp import OutgoingStream
from gateway.protocol.sdp import Negotiated, SdpSession

# Numbers that mean the same everywhere (RFC 3551 section 6): some peers send such a codec though another was agreed on.
_STATIC: Final = {codec.payload_type: codec.name for codec in (PCMU, PCMA, G722)}
_NOT_CONVERTED: Final = ConversionStats()
_OLD_CODEC_S: Final = 1.0  # for which packets of the codec before a re-INVITE pass: page and peer change one by one


class RtpSession:
    """The media of one call.

    Args:
        link: how packets travel to and from the SIP peer; closed with the session.
        random_bits: gives random bits, for SSRCs and numbers.
        rtcp_interval_s: seconds between RTCP reports.
        jitter: gives a number from 0 to 1, to spread the reports (RFC 3550 section 6.2).
        codecs: that are spoken, best first.
        secure: offer SRTP.
        sounds: what the machine can convert where page and peer have no codec in common.
    """

    def __init__(
        self,
        link: MediaLink,
        *,
        random_bits: Callable[[int], int],
        rtcp_interval_s: float,
        jitter: Callable[[], float],
        codecs: Sequence[str],
        secure: bool = False,
        sounds: SoundCodecs | None = None,
    ) -> None:
        self.link = link
        self._sounds = sounds
        self.sdp = SdpSession(random_bits(32), codecs, secure=secure, random_bits=random_bits)
        self._pack: Repacketizer | None = None  # where the peer wants another length than the page's 20 ms
        self._ptime_ms = PAGE_PTIME_MS
        self._random_bits = random_bits
        self._rtcp_interval_s = rtcp_interval_s
        self._jitter = jitter
        self._loop = asyncio.get_running_loop()
        self._port: RtpPort | None = None
        self._reporting: ReportingPort | None = None  # the same, where it is one: asking that costs as much as a packet
        self._to_sip = PacketPath(OutgoingStream(random_bits))
        self._to_wa = PacketPath(OutgoingStream(random_bits))
        self._applied: Negotiated | None = None
        self._sent_codecs: Mapping[int, str] = {}  # by payload type towards the peer
        self._old_send: Mapping[str, int] = {}  # what held before the last change of codecs, for a while
        self._old_receive: Mapping[int, str] = {}
        self._old_timer: asyncio.TimerHandle | None = None
        cname = f"{random_bits(96):024x}"
        self._reporter = Reporter(self._to_sip.outgoing, self._to_wa.reception, cname)
        self._last_rtcp_s: float | None = None
        self._page_loss = FarLoss()
        self._late_s = [0.0, 0]  # sum and count
        self.tap: Tap | None = None  # a recording, which hears what is sent on
        self._tone: CallTone | None = None  # heard by the peer in place of the page
        self._page_codecs: Mapping[int, str] = {}  # by payload type towards the page
        self._timer: asyncio.TimerHandle | None = None
        self._keys: KeyWatch | None = None
        self._keys_sent = 0  # by taps that were replaced
        self._closed = False
        self._to_wa.closed = self._to_sip.closed = "not_connected"
        self._ears = Ears()
        link.attach(
            LinkUser(
                self._from_peer, self._rtcp_received, self._to_wa.drop, self._to_wa.accepts,
                lambda: self._to_wa.reception.ssrc, self._to_sip.outgoing.ssrc, cname,
            )
        )  # fmt: skip

    async def create_offer(self, local_address: str) -> str:
        """Return our offer; in a running call one that fits it.

        Raises:
            Unavailable: the link cannot be had.
        """
        return await self.link.offer(self.sdp, local_address)

    def accept_answer(self, answer: str) -> Negotiated:
        """Take the answer to it and follow it. See `SdpSession.accept_answer`."""
        negotiated = self.link.accept(self.sdp, answer)
        self.apply(negotiated)
        return negotiated

    async def answer_offer(self, offer: str, local_address: str) -> tuple[str, Negotiated]:
        """Answer the peer's offer and follow it. See `SdpSession.answer_offer`."""
        answer, negotiated = await self.link.answer(self.sdp, offer, local_address)
        self.apply(negotiated)
        return answer, negotiated

    def apply(self, negotiated: Negotiated) -> None:
        """Send and receive as *negotiated* says, at once."""
        self._overlap(negotiated)
        self._follow_ptime(negotiated.ptime_ms)
        self._close_to_sip()
        self.link.apply(negotiated)
        self._wire()
        if self._timer is None and not self._closed:
            self._schedule()

    def _follow_ptime(self, ptime_ms: int) -> None:
        # Once packets have numbers of their own they keep them, or numbers would come twice.
        if ptime_ms != self._ptime_ms and (self._pack is not None or ptime_ms != PAGE_PTIME_MS):
            if self._pack is None:
                self._pack = Repacketizer(ptime_ms, self._to_sip.outgoing)
            else:
                self._pack.change(ptime_ms)
        self._ptime_ms = ptime_ms

    def connect(self, port: RtpPort, on_key: OnKey | None = None, on_lost: OnLost | None = None) -> None:
        """Let packets flow between the SIP peer and *port*; *on_key* takes the peer's keys, *on_lost* its loss."""
        if on_lost is not None:
            self.link.on_lost = on_lost
        if self._keys is not None:
            self._keys.close()
        self._keys = None if on_key is None else KeyWatch(self._loop, on_key)
        self._to_wa.on_event = None if self._keys is None else self._keys.receive
        self._leave_port()
        self._port = port
        self._reporting = port if isinstance(port, ReportingPort) else None
        if isinstance(port, ReportingPort):
            port.set_beyond(lambda: self._reporter.far)
            self._page_loss.begin(port.far_report())
            self._reporter.beyond = port.far_report
        self._to_wa.redirect(port.outgoing if isinstance(port, ContinuousPort) else OutgoingStream(self._random_bits))
        self._wire()
        port.set_receiver(self._from_page)
        self.link.start()

    def _leave_port(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            port.set_receiver(None)
        reporting, self._reporting = self._reporting, None
        if reporting is not None:
            self._page_loss.end(reporting.far_report())
            reporting.set_beyond(None)
            self._reporter.beyond = None

    def silence(self, *, wa_to_sip: bool, sip_to_wa: bool) -> None:
        """Send silence instead of the audio of these directions until told otherwise."""
        for path, silent in ((self._to_sip, wa_to_sip), (self._to_wa, sip_to_wa)):
            if silent != (path.quiet_until_s == math.inf):
                path.quiet_until_s = math.inf if silent else 0.0

    def play(self, cadence: str) -> None:
        """Let the peer hear a tone instead of the page from now on; an empty one ends it."""
        tone, self._tone = self._tone, None
        if tone is not None:
            tone.stop()
        if cadence and self._sounds is not None and not self._closed:
            self._to_sip.redirect(self._to_sip.outgoing)  # what the page sends afterwards goes on from the tone
            self._tone = CallTone(
                self._to_sip,
                parse_cadence(cadence),
                self._sounds,
                self._tone_target,
                self._to_peer,
                self._loop.call_at,
                self._loop.time,
            )
        self._close_to_sip()

    def _tone_target(self) -> tuple[str, int] | None:
        now = self._applied
        return (now.codec, now.payload_type) if now is not None and now.sends else None

    def _close_to_sip(self) -> None:
        if self._applied is not None:
            self._to_sip.closed = "hold" if not self._applied.sends else "tone" if self._tone is not None else None

    def mute(self, duration_s: float) -> None:
        """Silence the peer's audio for *duration_s* from now on."""
        self._to_wa.quiet_until_s = max(self._to_wa.quiet_until_s, time.monotonic() + duration_s)

    def _tap(self, negotiated: Negotiated) -> None:
        """Listen for keys of the page where the peer takes telephone-events; else they stay in the audio."""
        codecs = self._sent_codecs
        tap = self._to_sip.key_tap
        if not negotiated.events:
            self._keys_sent += tap.sender.events if tap is not None else 0
            self._to_sip.key_tap = None
        elif tap is not None:
            tap.use(codecs, negotiated.events)
        else:
            self._to_sip.key_tap = KeyTap(codecs, negotiated.events)

    def _wire(self) -> None:
        """Build the tables of payload types from what was negotiated and what the page speaks."""
        negotiated, port = self.sdp.negotiated, self._port
        if negotiated is None:
            return
        send = {**self._old_send, **negotiated.send}
        self._sent_codecs = {number: codec for codec, number in send.items()}
        self._tap(negotiated)
        self._to_wa.closed = "not_connected" if port is None else None if negotiated.receives else "hold"
        page = dict(port.payload_types) if port is not None else dict.fromkeys(negotiated.send, 0)
        self._page_codecs = {number: codec for codec, number in page.items()}
        preferred = negotiated.codec if negotiated.codec in page else None
        convertible = self._sounds.names if self._sounds is not None else frozenset()
        to_wa = routes({**_STATIC, **self._old_receive, **negotiated.receive}, page, preferred, convertible)
        to_sip = routes({n: codec for codec, n in page.items()}, send, negotiated.codec, convertible)
        self._convert(self._to_wa, to_wa, self._to_page, PAGE_PTIME_MS, None)
        self._convert(self._to_sip, to_sip, self._to_peer, negotiated.ptime_ms, negotiated.max_bitrate_bps)
        self._to_wa.set_routes(to_wa)
        self._to_sip.set_routes(to_sip)

    def _convert(
        self,
        path: PacketPath,
        table: tuple[Route, ...],
        deliver: Callable[[bytes], None],
        ptime_ms: int,
        max_bitrate_bps: int | None,
    ) -> None:
        """Give *path* a conversion where a route needs one."""
        if path.conversion is None and self._sounds is not None and any(route.source for route in table):
            path.conversion = Conversion(path, self._sounds, deliver, self._loop.call_at, self._loop.time)
        if path.conversion is not None:
            path.conversion.use(ptime_ms, max_bitrate_bps)

    def _overlap(self, negotiated: Negotiated) -> None:
        """Let packets of the codecs that held before pass a while, since nobody changes at the same instant."""
        before, self._applied = self._applied, negotiated
        self._forget_old()
        if before is None or (before.send, before.receive) == (negotiated.send, negotiated.receive):
            return
        taken = {*negotiated.send.values(), *negotiated.events.values()}
        self._old_send = {c: n for c, n in before.send.items() if c not in negotiated.send and n not in taken}
        self._old_receive = before.receive
        self._old_timer = self._loop.call_later(_OLD_CODEC_S, self._old_over)

    def _old_over(self) -> None:
        self._forget_old()
        self._wire()

    def _forget_old(self) -> None:
        if self._old_timer is not None:
            self._old_timer.cancel()
            self._old_timer = None
        self._old_send, self._old_receive = {}, {}

    def _from_page(self, packet: bytes, now_s: float) -> None:
        self._ears.page_came(packet)
        forwarded = self._to_sip.forward(packet, now_s)
        if forwarded is not None:
            self._to_peer(forwarded)

    def _to_peer(self, packet: bytes) -> None:
        if self.tap is not None:
            codec = self._sent_codecs.get(packet[1] & 0x7F)
            packet = self.tap.passed("wa_to_sip", codec, packet, time.monotonic())
        self._ears.sip_went(packet)
        if self._pack is None:
            if (cause := self.link.send(packet)) is not None:
                self._to_sip.drop(cause)
            return
        for packed in self._pack.feed(packet, self._sent_codecs.get(packet[1] & 0x7F)):
            self._send(packed)

    def _send(self, packet: bytes) -> None:
        if (cause := self.link.send(packet)) is not None:
            self._to_sip.drop(cause)

    def _from_peer(self, packet: bytes, now_s: float) -> None:
        self._ears.sip_came(packet)
        forwarded = self._to_wa.forward(packet, now_s)
        if forwarded is not None:
            self._to_page(forwarded)

    def _to_page(self, packet: bytes) -> None:
        if self._port is None:
            return
        if self.tap is not None:
            codec = self._page_codecs.get(packet[1] & 0x7F)
            packet = self.tap.passed("sip_to_wa", codec, packet, time.monotonic())
        self._ears.page_went(packet)
        self._port.send(packet)

    def _rtcp_received(self, packet: bytes) -> bool:
        now = time.monotonic()
        try:
            self._reporter.receive(packet, now, time.time())
        except RemoteProtocolError:
            self._to_wa.drop("malformed_rtcp")
            return False
        self._last_rtcp_s = now
        return True

    def _schedule(self) -> None:
        delay = self._rtcp_interval_s * (0.5 + self._jitter())
        self._timer = self._loop.call_later(delay, self._report)

    def _report(self) -> None:
        if self._timer is not None:  # a packet that comes now waits as long as this timer did
            self._late_s[0] += max(0.0, self._loop.time() - self._timer.when())
            self._late_s[1] += 1
        self._send_report(goodbye=False)
        self._prepare_for_loss()
        self._schedule()

    def _prepare_for_loss(self) -> None:
        page = self._reporting.far_report() if self._reporting is not None else None
        for path, far in ((self._to_sip, self._reporter.far), (self._to_wa, page)):
            if path.conversion is not None and far is not None:
                path.conversion.expect_loss(far.fraction_lost * 100 // 256)

    def _send_report(self, *, goodbye: bool) -> None:
        report = self._reporter.report(time.monotonic(), time.time(), goodbye=goodbye)
        if (cause := self.link.send_rtcp(report)) is not None:
            self._to_sip.drop(cause)

    def stats(self) -> MediaStats:
        """Return the figures so far."""
        trip = self._reporter.round_trip_s
        tap = self._to_sip.key_tap
        page = self._reporting.far_report() if self._reporting is not None else self._page_loss.last
        late_s, looks = self._late_s
        of_page = dict(self._port.payload_types) if self._port is not None else {}
        heard = self._ears.look(of_page, self.sdp.negotiated, time.monotonic())
        return MediaStats(
            wa_to_sip=_direction_stats(
                self._to_sip, self._keys_sent + (tap.sender.events if tap is not None else 0), heard.wa_to_sip
            ),
            sip_to_wa=_direction_stats(self._to_wa, self._keys.keys if self._keys is not None else 0, heard.sip_to_wa),
            round_trip_ms=None if trip is None else trip * 1000,
            peer_lost=self._reporter.peer_lost,
            peer_jitter_ms=self._reporter.peer_jitter * 1000 / self._to_sip.outgoing.clock_rate_hz,
            page_round_trip_ms=None if page is None or page.round_trip_s is None else page.round_trip_s * 1000,
            page_lost=self._page_loss.lost(page),
            page_jitter_ms=page.jitter_s * 1000 if page is not None else 0.0,
            late_ms=late_s / looks * 1000 if looks else 0.0,
            source_moves=self.link.source_moves,
            last_rtp_s=self._to_wa.reception.last_at_s,
            last_rtcp_s=self._last_rtcp_s,
        )

    async def close(self) -> None:
        """Say goodbye and close the link."""
        if self._closed:
            return
        self._closed = True
        self._forget_old()
        if self._timer is not None:
            self._timer.cancel()
        if self._tone is not None:
            self._tone.stop()
        if self._keys is not None:
            self._keys.close()
        for path in (self._to_wa, self._to_sip):
            if path.conversion is not None:
                path.conversion.close()
        self._leave_port()
        if self.sdp.negotiated is not None:
            self._send_report(goodbye=True)
        await self.link.close()


def _direction_stats(path: PacketPath, keys: int, heard: tuple[float | None, float | None]) -> DirectionStats:
    reception = path.reception
    converted = path.conversion.stats() if path.conversion is not None else _NOT_CONVERTED
    dropped = dict(path.dropped)
    for cause, count in (("late", converted.late), ("stalled", converted.stalled), ("malformed", converted.malformed)):
        if count:
            dropped[cause] = dropped.get(cause, 0) + count
    return DirectionStats(
        packets=reception.packets,
        bytes=reception.octets,
        passed=path.passed,
        lost=reception.lost,
        loss_runs=min(reception.gaps, reception.lost),
        jitter_ms=reception.jitter_ms,
        last_packet_s=reception.last_at_s,
        source_changes=reception.changes,
        transcoded=path.transcoded,
        keys=keys,
        muted=path.muted,
        concealed_ms=converted.concealed_ms,
        reorder_ms=converted.reorder_ms,
        came_dbfs=heard[0],
        went_dbfs=heard[1],
        dropped=dropped,
        dropped_payload_types=dict(path.dropped_types),
    )
