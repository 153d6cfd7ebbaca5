"""A phone for a test call: it calls the gateway as a PBX does, plays a tone and listens. One call and it is gone."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from gateway.codecs import g711
from gateway.codecs.levels import FLOOR_DBFS
from gateway.codecs.tone_ear import BURST, FRAME, ToneEar, frame_to_play
from gateway.domain.errors import PonteError, RemoteProtocolError
from gateway.protocol.rtp import OutgoingStream, Reception, RtpHeader, build_packet, parse_header, payload_of
from gateway.protocol.sdp.description import SessionDescription, connection_value, parse_sdp
from gateway.sip import (
    Answered,
    Caller,
    Ended,
    EndpointSettings,
    Failed,
    OutgoingInvite,
    Refer,
    ReInvite,
    Ringing,
    SipServer,
    SipStack,
)
from gateway.sip.settings import StackSettings

_CODECS: Final = {"0": "PCMU", "8": "PCMA"}  # RFC 3551 table 4
_FRAME_S: Final = 0.02
_SETTLE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class ToneCall:
    """One test call.

    Attributes:
        host: where the gateway takes calls.
        port: its port there.
        number: E.164 with the plus.
        user: of the digest; empty: none.
        password: its secret.
        ring_s: how long it may ring.
        talk_s: how long it goes on once it was answered.
    """

    host: str
    port: int
    number: str
    user: str
    password: str
    ring_s: float
    talk_s: float


@dataclass(frozen=True, slots=True)
class Phoned:
    """What the phone found.

    Attributes:
        failure: why there was no call, or why it ended early; empty where it was as it should be.
        rang_s: from the INVITE to the first ringing; None: it never rang.
        answered_s: from the INVITE to the answer; None: it was not answered.
        codec: what was agreed on.
        sent: packets.
        received: packets.
        lost: packets that never came.
        jitter_ms: of those that came.
        heard_share: of the received sound, how much was more than silence; 0 to 1.
        heard_dbfs: of the loudest that was heard.
        echo_ms: how long our tone took to come back; None: it did not.
    """

    failure: str = ""
    rang_s: float | None = None
    answered_s: float | None = None
    codec: str | None = None
    sent: int = 0
    received: int = 0
    lost: int = 0
    jitter_ms: float = 0.0
    heard_share: float = 0.0
    heard_dbfs: float = FLOOR_DBFS
    echo_ms: float | None = None


class _Sound(asyncio.DatagramProtocol):
    """The phone's RTP."""

    def __init__(self) -> None:
        self.ear = ToneEar()
        self.reception = Reception()
        self.stream = OutgoingStream(secrets.randbits)
        self.codec = "PCMU"
        self.peer: tuple[str, int] | None = None
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        now_s = time.monotonic()
        with contextlib.suppress(RemoteProtocolError):
            header, payload = parse_header(data), payload_of(data)
            codec = _CODECS.get(str(header.payload_type))
            if self.peer is not None and addr[0] == self.peer[0] and codec is not None:
                self.reception.update(header.sequence, header.timestamp, header.ssrc, len(payload), now_s)
                self.ear.hear(g711.decode(codec, payload), now_s)

    async def play(self) -> None:
        """Send the bursts, until cancelled."""
        payload_type = next(int(number) for number, name in _CODECS.items() if name == self.codec)
        started_s, number = time.monotonic(), 0
        while True:
            if number % (2 * BURST) == 0:
                self.ear.played(time.monotonic())
            self._send(payload_type, number)
            number += 1
            await asyncio.sleep(max(0.0, started_s + number * _FRAME_S - time.monotonic()))

    def _send(self, payload_type: int, number: int) -> None:
        stream = self.stream
        header = RtpHeader(
            payload_type, (stream.sequence + number) & 0xFFFF, (stream.timestamp + number * FRAME) & 0xFFFFFFFF,
            stream.ssrc, number == 0,
        )  # fmt: skip
        if self._transport is not None and self.peer is not None:
            self._transport.sendto(build_packet(header, g711.encode(self.codec, frame_to_play(number))), self.peer)
            stream.packets += 1

    def figures(self, before: Phoned) -> Phoned:
        """Return *before* with what was counted and heard."""
        ear, reception = self.ear, self.reception
        return replace(
            before, codec=self.codec, sent=self.stream.packets, received=reception.packets, lost=reception.lost,
            jitter_ms=round(reception.jitter_ms, 1), heard_share=round(ear.loud / ear.frames, 2) if ear.frames else 0.0,
            heard_dbfs=round(ear.level_dbfs, 1), echo_ms=ear.echo_ms,
        )  # fmt: skip


async def phone(wanted: ToneCall, say: Callable[[str], None]) -> Phoned:
    """Place the call, and hang up whatever happens; cancelled, it hangs up too.

    Args:
        wanted: the call.
        say: told how far it is.

    Raises:
        PonteError: the gateway cannot be reached.
    """
    stack = SipStack(StackSettings(settle_s=_SETTLE_S))
    await stack.start()
    try:
        server = SipServer(wanted.host, wanted.port, "udp")
        settings = EndpointSettings(
            server=server, user=wanted.user, password=wanted.password, listen_port=None, contact_user="ponte-call"
        )
        endpoint = await stack.add_endpoint(settings, lambda invite: invite.reject(486))
        endpoint.set_available(False, "This is a test call")  # it is no phone of the account's: it never registers
        local = await _local_address(wanted)
        loop = asyncio.get_running_loop()
        transport, sound = await loop.create_datagram_endpoint(_Sound, local_addr=(local, 0))
        try:
            invite = endpoint.invite(
                user=wanted.number, sdp=_offer(local, transport.get_extra_info("sockname")[1]), caller=Caller("ponte")
            )
            try:
                return await _follow(invite, sound, wanted, say)
            finally:
                await invite.bye()
        finally:
            transport.close()
    finally:
        await stack.close()


async def _local_address(wanted: ToneCall) -> str:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=(wanted.host, wanted.port))
    try:
        return str(transport.get_extra_info("sockname")[0])
    finally:
        transport.close()


def _offer(address: str, port: int) -> str:
    connection = connection_value(address)
    return (
        f"v=0\r\no=- 1 1 {connection}\r\ns=-\r\nc={connection}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=ptime:20\r\n"
    )


async def _follow(invite: OutgoingInvite, sound: _Sound, wanted: ToneCall, say: Callable[[str], None]) -> Phoned:
    began_s, found = time.monotonic(), Phoned()
    try:
        async with asyncio.timeout(wanted.ring_s):
            while True:
                event = await invite.next_event()
                passed_s = round(time.monotonic() - began_s, 2)
                match event:
                    case Ringing(status=status):
                        if found.rang_s is None:
                            say(f"{status}: it rings" if status == 180 else f"{status}")
                            found = replace(found, rang_s=passed_s)
                    case Failed(status=status, phrase=phrase):
                        return replace(found, failure=f"the gateway answered {status} {phrase}".rstrip())
                    case Ended():
                        return replace(found, failure="it was hung up")
                    case Answered(sdp=sdp):
                        found = replace(found, answered_s=passed_s)
                        sound.peer, sound.codec = _agreed(parse_sdp(sdp))
                        break
                    case _:
                        pass
    except TimeoutError:
        return replace(found, failure=f"nobody answered within {wanted.ring_s:g} s")
    except PonteError as error:
        return replace(found, failure=f"the answer cannot be used: {error}")
    say(f"answered, {sound.codec}; the tone plays for {wanted.talk_s:g} s")
    early = await _talk(invite, sound, wanted.talk_s)
    return replace(sound.figures(found), failure=early)


async def _talk(invite: OutgoingInvite, sound: _Sound, talk_s: float) -> str:
    """Play and listen; return why it ended early, empty where it did not."""
    playing = asyncio.ensure_future(sound.play())
    try:
        async with asyncio.timeout(talk_s):
            while not isinstance(event := await invite.next_event(), Ended | Failed):
                if isinstance(event, ReInvite):
                    invite.refuse_reinvite(event, 488)
                elif isinstance(event, Refer):
                    invite.refer_progress(event, 603)
    except TimeoutError:
        return ""
    finally:
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)
    return "it was hung up before the test was over"


def _agreed(answer: SessionDescription) -> tuple[tuple[str, int], str]:
    media = next((one for one in answer.media if one.media == "audio" and one.port), None)
    codec = next((_CODECS[name] for name in media.formats if name in _CODECS), None) if media is not None else None
    host = (media.address if media is not None else None) or answer.address
    if media is None or codec is None or not host:
        raise RemoteProtocolError("it has neither PCMU nor PCMA")
    return (host, media.port), codec
