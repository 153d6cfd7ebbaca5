"""SIPp in the place of Ponte, to test the PBX side alone: a trunk that registers, calls and challenges."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import LOOPBACK
from tests.support.processes import Process, running

_SDP = """v=0
o=trunk 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [local_ip]
t=0 0
m=audio [media_port] RTP/AVP 0
a=rtpmap:0 PCMU/8000
"""

_SWITCHES = ("-trace_msg", "-nostdin", "-timeout_error")

_HEAD = """Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      Max-Forwards: 70
      From: <sip:{user}@[remote_ip]:[remote_port]>;tag=[pid]t[call_number]
      To: <sip:{to}@[remote_ip]:[remote_port]>[peer_tag_param]
      Call-ID: [call_id]
      Contact: <sip:{user}@[local_ip]:[local_port]>"""


def _scenario(*steps: str) -> str:
    return '<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="trunk">\n' + "\n".join(steps) + "\n</scenario>\n"


def _send(text: str, *, retrans: bool = False) -> str:
    attribute = ' retrans="500"' if retrans else ""
    return f"<send{attribute}><![CDATA[\n\n      {text.strip()}\n\n]]></send>"


def register_scenario(user: str, password: str) -> str:
    """REGISTER, the challenge, REGISTER with the answer, 200."""
    head = _HEAD.format(user=user, to=user).replace("[peer_tag_param]", "")
    request = "REGISTER sip:[remote_ip]:[remote_port] SIP/2.0\n      " + head
    rest = "\n      CSeq: {cseq} REGISTER\n      Expires: 120\n      Content-Length: 0"
    return _scenario(
        _send(request + rest.format(cseq=1), retrans=True),
        '<recv response="401" auth="true"/>',
        _send(
            request + rest.format(cseq=2) + f"\n      [authentication username={user} password={password}]",
            retrans=True,
        ),
        '<recv response="200"/>',
    )


_TAKES_BYE = (
    '<recv request="ACK"/>',
    '<recv request="BYE"/>',
    _send(
        "SIP/2.0 200 OK\n      [last_Via:]\n      [last_From:]\n      [last_To:]\n      [last_Call-ID:]"
        "\n      [last_CSeq:]\n      Content-Length: 0"
    ),
)

_SENDS_BYE = (
    '<recv request="ACK"><action>'
    '<ereg regexp="[^ ].*" search_in="hdr" header="From:" assign_to="caller"/>'
    '<ereg regexp="[^ ].*" search_in="hdr" header="To:" assign_to="callee"/>'
    "</action></recv>",
    '<pause milliseconds="300"/>',
    _send(
        "BYE [next_url] SIP/2.0\n      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n      [routes]"
        "\n      Max-Forwards: 70\n      From: [$callee]\n      To: [$caller]\n      Call-ID: [call_id]"
        "\n      CSeq: 1 BYE\n      Content-Length: 0",
        retrans=True,
    ),
    '<recv response="200"/>',
)


def challenging_scenario(user: str, secret: str, *, hang_up: bool = False) -> str:
    """Take a call only from who knows the secret; then hang up, or be hung up on."""
    copied = "[last_Via:]\n      [last_From:]\n      [last_To:]{tag}\n      [last_Call-ID:]\n      [last_CSeq:]"
    tagged = copied.format(tag=";tag=[pid]u[call_number]")
    nothing = "\n      Content-Length: 0"
    challenge = '\n      WWW-Authenticate: Digest realm="ponte", nonce="abc123", algorithm=MD5, qop="auth"'
    contact = "\n      [last_Record-Route:]\n      Contact: <sip:ponte@[local_ip]:[local_port]>"
    return _scenario(
        '<recv request="INVITE" crlf="true"/>',
        _send("SIP/2.0 401 Unauthorized\n      " + copied.format(tag=";tag=[pid]c[call_number]") + challenge + nothing),
        '<recv request="ACK"/>',
        '<recv request="INVITE" rrs="true"><action>'
        '<ereg regexp="Digest" search_in="hdr" header="Authorization:" check_it="true" assign_to="seen"/>'
        f'<verifyauth assign_to="valid" username="{user}" password="{secret}"/>'
        "</action></recv>",
        '<Reference variables="seen"/>',
        '<nop test="valid" next="let_in"/>',
        _send("SIP/2.0 403 Forbidden\n      " + tagged + nothing),
        '<recv request="ACK" next="end"/>',
        '<label id="let_in"/>',
        _send("SIP/2.0 180 Ringing\n      " + tagged + contact + nothing),
        _send(
            "SIP/2.0 200 OK\n      " + tagged + contact + "\n      Content-Type: application/sdp"
            "\n      Content-Length: [len]\n\n      " + _SDP.replace("\n", "\n      "),
            retrans=True,
        ),
        *(_SENDS_BYE if hang_up else _TAKES_BYE),
        '<label id="end"/>',
    )  # fmt: skip


def calling_scenario(user: str, password: str, extension: str) -> str:
    """Call an extension, answer the PBX's challenge, talk for half a second, hang up."""
    head = _HEAD.format(user=user, to=extension)
    # The tag of the refusal belongs to its ACK alone.
    invite = f"INVITE sip:{extension}@[remote_ip]:[remote_port] SIP/2.0\n      " + head.replace("[peer_tag_param]", "")
    body = "\n      Content-Type: application/sdp\n      Content-Length: [len]\n\n      " + _SDP.replace(
        "\n", "\n      "
    )
    nothing = "\n      Content-Length: 0"
    return _scenario(
        _send(invite + "\n      CSeq: 1 INVITE" + body, retrans=True),
        '<recv response="407" auth="true"/>',
        _send(
            f"ACK sip:{extension}@[remote_ip]:[remote_port] SIP/2.0\n      " + head + "\n      CSeq: 1 ACK" + nothing
        ),
        _send(
            invite + f"\n      CSeq: 2 INVITE\n      [authentication username={user} password={password}]" + body,
            retrans=True,
        ),
        '<recv response="100" optional="true"/>',
        '<recv response="180" optional="true"/>',
        '<recv response="200" rrs="true"/>',
        _send("ACK [next_url] SIP/2.0\n      " + head + "\n      [routes]\n      CSeq: 2 ACK" + nothing),
        '<pause milliseconds="500"/>',
        _send("BYE [next_url] SIP/2.0\n      " + head + "\n      [routes]\n      CSeq: 3 BYE" + nothing, retrans=True),
        '<recv response="200"/>',
    )


@dataclass(frozen=True, slots=True)
class Sipp:
    """A running SIPp.

    Attributes:
        process: the program.
        messages: its log of every message.
        status: file that gets its exit code.
    """

    process: Process
    messages: Path
    status: Path

    async def succeeded(self, *, timeout_s: float) -> bool:
        """Wait for its end and tell whether its call went as the scenario says."""
        await self.process.wait_end(timeout_s=timeout_s)
        return self.status.read_text().strip() == "0"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(text)


@contextlib.asynccontextmanager
async def sipp(
    folder: Path, scenario: str, *, remote: str, port: int, media_port: int, limit_s: int = 20
) -> AsyncIterator[Sipp]:
    """Run one call of a scenario.

    Args:
        folder: its own folder for files.
        scenario: the XML.
        remote: ``host:port`` of the peer.
        port: its own SIP port.
        media_port: its own media port.
        limit_s: after which it gives up.
    """
    _write(folder / "scenario.xml", scenario)
    options = {
        "-sf": "scenario.xml", "-i": LOOPBACK, "-p": str(port), "-mp": str(media_port), "-m": "1",
        "-message_file": "messages.log", "-timeout": f"{limit_s}s",
    }  # fmt: skip
    flat = [word for pair in options.items() for word in pair]
    argv = ["/bin/sh", "-c", 'sipp "$@"; echo $? >status', "sipp", remote, *flat, *_SWITCHES]
    async with running("sipp", argv, log=folder / "sipp.log", cwd=folder) as process:
        yield Sipp(process, folder / "messages.log", folder / "status")


async def run_sipp(folder: Path, scenario: str, *, remote: str, port: int, media_port: int, limit_s: int = 20) -> bool:
    """Run one call of a scenario to its end and tell whether it went as the scenario says."""
    async with sipp(folder, scenario, remote=remote, port=port, media_port=media_port, limit_s=limit_s) as caller:
        return await caller.succeeded(timeout_s=limit_s + 5)


async def settle() -> None:
    """Give SIPp, which does not say when it listens, the moment that it needs."""
    await asyncio.sleep(0.3)
