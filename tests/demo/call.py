"""One measured call: both sides speak their timelines at the same time, and everything that was heard is kept."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from tests.demo.world import World
from tests.support.audio import Samples, Timeline, read_wav, resample, timeline, write_wav
from tests.support.baresip import SAMPLE_RATE_HZ as PHONE_RATE_HZ
from tests.support.wire import RtpPacket, SipMessage

Direction = Literal["whatsapp_to_sip", "sip_to_whatsapp"]

WHATSAPP_RATE_HZ: Final = 16_000
# Neither frequency is a harmonic of the other, none is one of the page's own sounds, and none has a period that is a
# whole number of samples, which would let a codec make the same error again and again.
WHATSAPP_TONE_HZ: Final = 437.0
PHONE_TONE_HZ: Final = 1013.0
CALLER: Final = "+5511988887777"
CALLEE: Final = "+5511977776666"

WHATSAPP_TEXT: Final = (
    "Good morning, this is the person on the mobile phone. I would like to know whether my order has left your house, "
    "and when the driver is going to be here, because I am leaving at noon."
)
PHONE_TEXT: Final = (
    "Thank you for calling, you are talking to the reception. Please give me the number of your order, and I will look "
    "where your parcel is right now. It should only take a moment."
)


@dataclass(frozen=True, slots=True)
class Script:
    """How long the parts of a call are.

    Attributes:
        tone_s: length of the tone.
        speech_s: length of the speech.
        bursts: how many bursts for the latency.
    """

    tone_s: float = 3.0
    speech_s: float = 10.0
    bursts: int = 24


@dataclass(frozen=True, slots=True)
class Spoken:
    """What both sides say."""

    whatsapp: Timeline
    phone: Timeline


@dataclass(frozen=True, slots=True)
class CallRecord:
    """Everything that was seen and heard of one call.

    Attributes:
        direction: who called.
        spoken: what both sides said.
        heard_by_phone: the phone's recording, at the rate of what it says.
        heard_by_whatsapp: what the far end heard, and its rate.
        to_phone: the RTP packets towards the phone.
        from_phone: the RTP packets of the phone.
        sip: the SIP messages on the wire.
        phone_port: the phone's SIP port.
        marks: what the stand-in's worklets noted.
        stand_in: troubles of its own that the stand-in counted.
        codec: the only one that the phone speaks.
    """

    direction: Direction
    spoken: Spoken
    heard_by_phone: Samples
    heard_by_whatsapp: tuple[Samples, int]
    to_phone: tuple[RtpPacket, ...]
    from_phone: tuple[RtpPacket, ...]
    sip: tuple[SipMessage, ...]
    phone_port: int
    marks: dict[str, list[dict[str, Any]]]
    stand_in: dict[str, float]
    codec: str = "PCMU"


def write_script(script: Script, *, seed: int) -> Spoken:
    """Make what both sides say. Runs espeak-ng: takes a moment.

    Args:
        script: lengths.
        seed: of the bursts' spacing.
    """
    lengths: dict[str, Any] = {
        "tone_length_s": script.tone_s, "speech_length_s": script.speech_s, "bursts": script.bursts
    }  # fmt: skip
    return Spoken(
        timeline(tone_hz=WHATSAPP_TONE_HZ, text=WHATSAPP_TEXT, rate_hz=WHATSAPP_RATE_HZ, seed=seed, **lengths),
        # Bursts of the two sides at different times: what leaks from one direction into the other is no match.
        timeline(tone_hz=PHONE_TONE_HZ, text=PHONE_TEXT, rate_hz=PHONE_RATE_HZ, seed=seed + 1000, tail_s=30, **lengths),
    )


async def make_call(
    world: World,
    direction: Direction,
    spoken: Spoken,
    folder: Path,
    say: Callable[[str], None],
) -> CallRecord:
    """Make one call, let both sides speak to the end, hang up, and keep the recordings as WAV files.

    A call from WhatsApp is ended by the far end, one from the phone by the phone.

    Args:
        world: a READY one.
        direction: who calls.
        spoken: what both sides say.
        folder: for the recordings.
        say: told what is going on.

    Raises:
        FarEndError: the stand-in did not see what it should.
        PhoneError: the phone did not.
    """
    await world.far_end.wait_for(lambda state: state["call"] is None, what="end of the last call", timeout_s=10)
    await world.far_end.marks(clear=True)
    await _prepare(world, spoken, folder)
    since_s, mark = world.now(), world.phone.mark()
    if direction == "whatsapp_to_sip":
        await world.far_end.ring(CALLER, name="Maria")
        await world.phone.wait_event("CALL_ESTABLISHED", since=mark, timeout_s=20)
    else:
        await world.phone.dial(CALLEE)
        await world.far_end.wait_for(_rings, what="ringing", timeout_s=20)
        await world.phone.wait_event("CALL_RINGING", "CALL_PROGRESS", since=mark, timeout_s=10)
        await world.far_end.answer()
        await world.phone.wait_event("CALL_ESTABLISHED", since=mark, timeout_s=20)
    await world.far_end.wait_for(_active, what="active call", timeout_s=10)
    seconds = spoken.whatsapp.seconds + 1.5
    say(f"connected; both sides talk for {seconds:.0f} s")
    await asyncio.sleep(seconds)
    heard_by_whatsapp = await world.far_end.heard(seconds + 3)
    marks, state = await world.far_end.marks(), await world.far_end.state()
    if direction == "whatsapp_to_sip":
        await world.far_end.hang_up()
    else:
        await world.phone.hang_up()
    await world.phone.wait_event("CALL_CLOSED", since=mark, timeout_s=10)
    await world.far_end.wait_for(lambda state: state["call"] is None, what="end of the call", timeout_s=10)
    marks["events"] = (await world.far_end.marks())["events"]
    say("hung up")
    heard_by_phone = await _keep(world, folder, direction, spoken, heard_by_whatsapp)
    to_phone = _largest(world.tap.rtp(since_s=since_s, target=world.phone.rtp_ports))
    from_phone = _largest(world.tap.rtp(since_s=since_s, source=world.phone.rtp_ports))
    return CallRecord(
        direction, spoken, heard_by_phone, heard_by_whatsapp, to_phone, from_phone,
        tuple(world.tap.sip(since_s=since_s)), world.phone.port, marks, _troubles(state),
        world.options.codec,
    )  # fmt: skip


def _troubles(state: dict[str, Any]) -> dict[str, float]:
    media = state["media"] or {}
    page = media.get("page") or {}
    return {
        **{name: float(page.get(name, 0)) for name in ("underruns", "dropped", "overruns")},
        "frames_dropped": float(media.get("frames_dropped", 0)), "heard_gaps": float(media.get("heard_gaps", 0)),
    }  # fmt: skip


def _rings(state: dict[str, Any]) -> bool:
    return bool(state["call"]) and state["call"]["state"] == "ringing"


def _active(state: dict[str, Any]) -> bool:
    return bool(state["call"]) and state["call"]["state"] == "active"


async def _prepare(world: World, spoken: Spoken, folder: Path) -> None:
    def write() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        rate_hz = world.phone.rate_hz
        write_wav(folder / "phone_said.wav", resample(spoken.phone.samples, PHONE_RATE_HZ, rate_hz), rate_hz)
        world.phone.play(folder / "phone_said.wav")

    await asyncio.to_thread(write)
    await world.far_end.say(spoken.whatsapp.samples, WHATSAPP_RATE_HZ)


async def _keep(
    world: World, folder: Path, direction: Direction, spoken: Spoken, heard: tuple[Samples, int]
) -> Samples:
    def keep() -> Samples:
        recording = folder / f"{direction}.phone_heard.wav"
        shutil.copyfile(world.phone.recorded()[-1], recording)
        write_wav(folder / f"{direction}.whatsapp_heard.wav", *heard)
        write_wav(folder / "whatsapp_said.wav", spoken.whatsapp.samples, WHATSAPP_RATE_HZ)
        return resample(*read_wav(recording), PHONE_RATE_HZ)

    return await asyncio.to_thread(keep)


def _largest(packets: list[RtpPacket]) -> tuple[RtpPacket, ...]:
    """The packets of the SSRC that sent most: a comfort stream before the answer is not the call."""
    by_source: dict[int, list[RtpPacket]] = {}
    for packet in packets:
        by_source.setdefault(packet.ssrc, []).append(packet)
    largest: list[RtpPacket] = []
    for found in by_source.values():
        largest = found if len(found) > len(largest) else largest
    return tuple(largest)
