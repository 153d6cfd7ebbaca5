"""Debian's linphone-daemon as a real SIP phone without sound hardware, told what to do through its socket."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support.ports import LOOPBACK, free_ports
from tests.support.processes import Process, running

# Nothing may be looked for outside this machine, and no sound card is there.
_CONFIG: Final = """
[sip]
sip_port={udp}
sip_tcp_port={tcp}
sip_tls_port=0
use_ipv6=0
guess_hostname=1
register_only_when_network_is_up=0
media_encryption=none
use_info=0
use_rfc2833=1
inc_timeout=60
root_ca={ca}
verify_server_certs=1
verify_server_cn=1
[net]
firewall_policy=0
[rtp]
audio_rtp_port={rtp}
[misc]
uuid={uuid}
[sound]
echocancellation=0
[video]
capture=0
display=0
[audio_codec_0]
mime=PCMU
rate=8000
channels=1
enabled=1
[audio_codec_1]
mime=PCMA
rate=8000
channels=1
enabled=1
[audio_codec_2]
mime=telephone-event
rate=8000
channels=1
enabled=1
"""
_PORTS: Final = 6
_POLL_S: Final = 0.05


class LinphoneError(Exception):
    """The phone refused a command, or what was waited for did not come."""


@dataclass(slots=True)
class Linphone:
    """A running, registered phone.

    Attributes:
        user: its extension.
        registrar: ``host:port`` of the PBX.
        process: the program.
        events: the states of its calls, in order, by linphone's names without ``LinphoneCall``.
    """

    user: str
    registrar: str
    process: Process
    events: list[str] = field(default_factory=list)
    _reader: asyncio.StreamReader | None = None
    _writer: asyncio.StreamWriter | None = None

    async def command(self, text: str, *, timeout_s: float = 10) -> str:
        """Give one of the daemon's commands and return what it answered after its status.

        Raises:
            LinphoneError: it refused.
        """
        assert self._reader is not None
        assert self._writer is not None
        self._writer.write(text.encode() + b"\n")
        async with asyncio.timeout(timeout_s):
            answer = (await self._reader.read(65_536)).decode("utf-8", "replace")
        if not answer.startswith("Status: Ok"):
            raise LinphoneError(f"linphone refused {text.split()[0]}: {answer!r}\n{self.process.tail()}")
        return answer.removeprefix("Status: Ok").strip()

    async def dial(self, number: str) -> None:
        """Call an extension or number through the PBX; returns at once."""
        await self.command(f"call sip:{number}@{self.registrar}")

    async def wait_state(self, *states: str, since: int = 0, timeout_s: float = 15) -> None:
        """Wait until a call comes into one of these states.

        Args:
            states: linphone's names, such as ``IncomingReceived``, ``StreamsRunning``, ``PausedByRemote``, ``End``.
            since: ignore what happened before this place of :attr:`events`.
            timeout_s: how long at most.

        Raises:
            LinphoneError: it did not happen.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    await self._take_events()
                    if any(state in self.events[since:] for state in states):
                        return
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise LinphoneError(
                f"linphone was never {' or '.join(states)}, but {self.events}\n{self.process.tail()}"
            ) from None

    async def _take_events(self) -> None:
        while True:
            lines = (line.partition(":") for line in (await self.command("pop-event")).split("\n"))
            fields = {name.strip(): value.strip() for name, colon, value in lines if colon}
            if fields.get("Event-type") == "call-state-changed":
                self.events.append(fields.get("Event", "").removeprefix("LinphoneCall"))
            if int(fields.get("Size", "0") or 0) <= 0 or "Event-type" not in fields:
                return

    async def _registered(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    if "LinphoneRegistrationOk" in await self.command("register-status ALL"):
                        return
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise LinphoneError(f"linphone {self.user} did not register\n{self.process.tail()}") from None


@contextlib.asynccontextmanager
async def linphone(
    folder: Path,
    *,
    user: str,
    password: str,
    registrar: str,
    transport: str = "udp",
    ca: Path | None = None,
    auto_answer: bool = False,
    register_timeout_s: float = 20,
) -> AsyncIterator[Linphone]:
    """Run a phone and register it, for the length of the block.

    Args:
        folder: for its configuration and log; made when it is missing.
        user: extension, which is also its digest user.
        password: its digest password.
        registrar: ``host:port`` of the PBX.
        transport: ``udp``, ``tcp`` or ``tls``.
        ca: the authority that it trusts.
        auto_answer: whether it takes calls by itself.
        register_timeout_s: how long the registration may take.

    Raises:
        ProcessFailed: it did not start.
        LinphoneError: it could not register.
    """
    (folder / ".local/share/linphone").mkdir(parents=True, exist_ok=True)  # without its database it takes no calls
    first = free_ports(_PORTS)
    config = folder / "linphonerc"
    config.write_text(
        _CONFIG.format(udp=first, tcp=first, rtp=first + 2, ca=ca or "", uuid=f"00000000-0000-4000-8000-{first:012d}")
    )
    # the daemon puts its socket into /tmp and nowhere else
    name = f"ponte-linphone-{secrets.token_hex(6)}"
    socket = Path("/tmp") / name
    argv = ["linphone-daemon", "--config", str(config), "--pipe", name, "--disable-stats-events"]
    argv += ["--auto-answer"] if auto_answer else []
    home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    try:
        async with running("linphone", argv, log=folder / "linphone.log", env=home) as process:
            await process.wait_for(socket.exists, what="its socket", timeout_s=20)
            reader, writer = await asyncio.open_unix_connection(socket)
            phone = Linphone(user, registrar, process, [], reader, writer)
            try:
                await phone.command("ipv6 disable")
                await phone.command(
                    f"register sip:{user}@{LOOPBACK} <sip:{registrar};transport={transport}> {password} {user}"
                )
                await phone._registered(register_timeout_s)
                yield phone
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    finally:
        socket.unlink(missing_ok=True)
