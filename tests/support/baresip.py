"""Debian's baresip as a real SIP phone without sound hardware: it plays one WAV file and records what it hears.

Played is 16 bit mono at the rate of the first codec, so that baresip, whose resampler costs 2 dB, resamples nothing.
The recording (baresip's ``sndfile`` filter) holds the frames that it decoded, one after the other as they arrived, at
the codec's rate.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import time
import wave
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from gateway.domain.codecs import CODECS
from tests.support.audio import silence, write_wav
from tests.support.ports import LOOPBACK, free_ports
from tests.support.processes import Process, running

SAMPLE_RATE_HZ: Final = 8000
MODULES: Final = Path("/usr/lib/baresip/modules")
_RTP_PORTS: Final = 8
# SIP, SIP over TLS (which baresip opens on the next port, unasked), commands, one to keep RTP's first port even.
PORTS_NEEDED: Final = 4 + _RTP_PORTS

# aubridge plays into nowhere at the pace of a sound card; without a player baresip would not decode. The two numbers
# of jitter_buffer_delay at 0 hand frames on as they come, so that the recording shows what the network did.
_CONFIG: Final = """
poll_method             epoll
net_interface           {host}
sip_listen              {host}:{port}
call_local_timeout      120
call_max_calls          2
audio_player            aubridge,nowhere
audio_source            aufile,{source}
audio_alert             aubridge,alert
audio_level             no
ausrc_srate             {rate_hz}
ausrc_channels          1
audio_buffer            20-160
rtp_ports               {rtp_first}-{rtp_last}
rtcp_mux                no
rtp_stats               no
jitter_buffer_delay     0-0
module_path             {modules}
module                  g711.so
module                  g722.so
module                  opus.so
module                  srtp.so
module                  aubridge.so
module                  aufile.so
module                  sndfile.so
snd_path                {recordings}
module_tmp              account.so
module_app              menu.so
module_app              ctrl_tcp.so
ctrl_tcp_listen         {host}:{control}
ringback_disabled       yes
menu_bell               no
statmode_default        off
"""


class PhoneError(Exception):
    """The phone refused a command, or an event that was waited for did not come."""


@dataclass(frozen=True, slots=True)
class PhoneEvent:
    """Something that baresip told.

    Attributes:
        at_s: when it was read, wall clock.
        type: baresip's name: CALL_INCOMING, CALL_RINGING, CALL_ESTABLISHED, CALL_CLOSED, REGISTER_OK, ...
        detail: the whole event.
    """

    at_s: float
    type: str
    detail: Mapping[str, Any]


@dataclass(slots=True)
class Baresip:
    """A running, registered phone.

    Attributes:
        user: its extension.
        registrar: ``host:port`` of the PBX.
        port: its own SIP port.
        rtp_ports: the ports that its RTP may use, RTCP's included.
        process: the program.
        events: everything it told, in order.
        rate_hz: of what it plays.
    """

    user: str
    registrar: str
    port: int
    rtp_ports: range
    process: Process
    source: Path
    recordings: Path
    events: list[PhoneEvent]
    _writer: asyncio.StreamWriter
    rate_hz: int = SAMPLE_RATE_HZ
    _told: asyncio.Event = field(default_factory=asyncio.Event)
    _tokens: int = 0
    _answers: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def play(self, wav: Path) -> None:
        """Choose what the phone plays from the start of its next call on.

        The file should last longer than the call: what baresip sends after its end is not defined.

        Raises:
            ValueError: not 16 bit mono at its rate.
        """
        with wave.open(str(wav)) as file:
            if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (1, 2, self.rate_hz):
                raise ValueError(f"{wav}: the phone plays 16 bit mono at {self.rate_hz} Hz only")
        fresh = self.source.with_suffix(".new")
        shutil.copyfile(wav, fresh)
        os.replace(fresh, self.source)

    async def command(self, name: str, params: str = "", *, timeout_s: float = 5) -> str:
        """Give one of baresip's commands.

        Returns:
            What it answered.

        Raises:
            PhoneError: it refused, or did not answer.
        """
        self._tokens += 1
        token = str(self._tokens)
        message = json.dumps({"command": name, "params": params, "token": token}).encode()
        self._writer.write(b"%d:%s," % (len(message), message))
        await self._wait(lambda: token in self._answers, f"answer to {name}", timeout_s)
        answer = self._answers.pop(token)
        if not answer.get("ok"):
            raise PhoneError(f"baresip refused {name}: {answer.get('data')}")
        return str(answer.get("data", ""))

    async def dial(self, number: str) -> None:
        """Call an extension or number through the PBX; returns at once."""
        await self.command("dial", f"sip:{number}@{self.registrar}")

    async def answer(self) -> None:
        """Take the call that rings."""
        await self.command("accept")

    async def hang_up(self) -> None:
        """End or refuse the call."""
        await self.command("hangup")

    def mark(self) -> int:
        """The place in :attr:`events` from which to wait for something that is still to come."""
        return len(self.events)

    async def wait_event(self, *types: str, since: int = 0, timeout_s: float = 10) -> PhoneEvent:
        """Wait for the first event of one of these types.

        Args:
            types: baresip's names.
            since: ignore the events before this :meth:`mark`.
            timeout_s: how long at most.

        Raises:
            PhoneError: it did not come.
        """

        def find() -> PhoneEvent | None:
            return next((event for event in self.events[since:] if event.type in types), None)

        await self._wait(lambda: find() is not None, " or ".join(types), timeout_s)
        found = find()
        assert found is not None
        return found

    def recorded(self) -> list[Path]:
        """What was heard in each ended call, oldest first."""
        return sorted(self.recordings.glob("dump-*-dec.wav"))

    async def _wait(self, ready: Callable[[], bool], what: str, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                while not ready():
                    self._told.clear()
                    await self._told.wait()
        except TimeoutError:
            told = ", ".join(event.type for event in self.events[-8:])
            raise PhoneError(f"phone {self.user}: no {what} within {timeout_s:g} s (last events: {told})") from None

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while True:
            try:
                length = int((await reader.readuntil(b":"))[:-1])
                message = json.loads((await reader.readexactly(length + 1))[:-1])
            except asyncio.IncompleteReadError:
                return
            if message.get("response"):
                self._answers[str(message.get("token"))] = message
            else:
                self.events.append(PhoneEvent(time.time(), str(message.get("type")), message))
            self._told.set()


async def _connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with asyncio.timeout(10):
        while True:
            try:
                return await asyncio.open_connection(LOOPBACK, port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.03)


def _prepare(folder: Path, files: Mapping[str, str], source: Path, recordings: Path, rate_hz: int) -> None:
    recordings.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    if not source.exists():
        write_wav(source, silence(120, rate_hz), rate_hz)


def _account_name(codec: str) -> str:
    """The codec as an account names it; baresip has G.722 by the rate of its sound."""
    known = CODECS[codec]
    return f"{codec}/{known.sample_rate_hz}/{known.channels}"


@contextlib.asynccontextmanager
async def baresip(
    folder: Path,
    *,
    user: str,
    password: str,
    registrar: str,
    answer: Literal["auto", "manual"] = "auto",
    codecs: Sequence[str] = ("PCMU", "PCMA"),
    srtp: bool = False,
    register_timeout_s: float = 10,
    control_port: int = 0,
    first_port: int = 0,
) -> AsyncIterator[Baresip]:
    """Run a phone and register it, for the length of the block.

    Args:
        folder: for its configuration, recordings and log.
        user: extension, which is also its digest user.
        password: its digest password.
        registrar: ``host:port`` of the PBX.
        answer: whether it takes calls by itself.
        codecs: what it offers, in this order.
        srtp: whether it speaks SRTP (SDES keys), and nothing else.
        register_timeout_s: how long the registration may take.
        control_port: where it takes commands; 0 takes a free port.
        first_port: first of PORTS_NEEDED ports in a row, for whoever hands out several programs' ports; 0 finds some.

    Raises:
        ProcessFailed: it did not start, or could not register.
    """
    first = first_port or free_ports(PORTS_NEEDED)
    port, control, rtp_first = first, control_port or first + 2, first + 4
    rate_hz = CODECS[codecs[0]].sample_rate_hz
    source, recordings = folder / "source.wav", folder / "recordings"
    files = {
        "config": _CONFIG.format(
            host=LOOPBACK, port=port, control=control, source=source, recordings=recordings, modules=MODULES,
            rtp_first=rtp_first, rtp_last=rtp_first + _RTP_PORTS - 1, rate_hz=rate_hz,
        ),
        "contacts": "",
        "accounts": f"<sip:{user}@{registrar}>;auth_user={user};auth_pass={password};answermode={answer};regint=60;"
        f"audio_codecs={','.join(map(_account_name, codecs))};ptime=20{';mediaenc=srtp-mand' if srtp else ''}\n",
    }  # fmt: skip
    _prepare(folder, files, source, recordings, rate_hz)
    async with running("baresip", ["baresip", "-f", str(folder)], log=folder / "baresip.log") as process:
        reader, writer = await _connect(control)
        rtp_ports = range(rtp_first, rtp_first + _RTP_PORTS)
        phone = Baresip(user, registrar, port, rtp_ports, process, source, recordings, [], writer, rate_hz)
        listening = asyncio.create_task(phone._read(reader))
        try:
            await process.wait_line(
                lambda line: line.startswith(f"{user}@") and " 200 OK " in line,
                what="registration",
                timeout_s=register_timeout_s,
            )
            yield phone
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
