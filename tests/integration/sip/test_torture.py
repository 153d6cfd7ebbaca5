"""RFC 4475: every torture message as a real datagram to a real listener, with the answer that the RFC asks for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest

from gateway.protocol.sip.message import IncomingResponse, parse_message
from gateway.sip import EndpointSettings, IncomingInvite, SipServer, SipStack
from tests.support.sip_lab import request_text
from tests.support.sip_ua import quick_settings
from tests.support.torture import VALID
from tests.support.torture_invalid import INVALID
from tests.support.torture_semantic import SEMANTIC

pytestmark = pytest.mark.integration

MESSAGES = {**VALID, **INVALID, **SEMANTIC}
CALL = 486  # what the test answers to each call that is told: the INVITE was taken
NO_REGISTRAR = 405  # a well-formed REGISTER
EXPECTED: dict[str, int | None] = {
    # 3.1.1 valid
    "wsinv": 481,  # well-formed; its To has the tag of no dialog of ours
    "intmeth": 501, "esc01": CALL, "escnull": NO_REGISTRAR, "esc02": 501, "lwsdisp": 200, "longreq": CALL,
    "dblreq": NO_REGISTRAR, "semiuri": 200, "transports": 200, "mpart01": 405, "unreason": None, "noreason": None,
    # 3.1.2 malformed
    "badinv01": 400, "clerr": 400, "ncl": 400, "scalar02": 400, "scalarlg": None, "quotbal": 400, "ltgtruri": 400,
    "lwsruri": 400, "lwsstart": 400, "trws": 400, "escruri": 400,
    "baddate": CALL,  # nothing depends on Date: to be ignored
    "regbadct": 400,
    "badaspec": 200, "baddn": 200,  # what was meant is clear, which the RFC allows
    "badvers": 505, "mismatch01": 400, "mismatch02": 400, "bigcode": None,
    # 3.2 transaction layer
    "badbranch": 200,
    # 3.3 application layer
    "insuf": 400, "unkscm": 416, "novelsc": 416, "unksm2": NO_REGISTRAR, "bext01": 420, "invut": 415,
    "regaut01": NO_REGISTRAR, "multi01": 400, "mcl01": 400, "bcast": None, "zeromf": 200, "cparam01": NO_REGISTRAR,
    "cparam02": NO_REGISTRAR, "regescrt": NO_REGISTRAR, "sdp01": 406,
    # 3.4 backward compatibility
    "inv2543": CALL,
}  # fmt: skip


# where a password is asked for: of every caller, and of every phone that wants to register
ASKED = frozenset({CALL, NO_REGISTRAR, 406, 415})


def asked(name: str) -> int | None:
    """Return what a listener with a password answers."""
    is_asked = EXPECTED[name] in ASKED and name != "mpart01"  # MESSAGE is for nobody
    return 401 if is_asked else EXPECTED[name]


class _Peer(asyncio.DatagramProtocol):
    def __init__(self, site: Site) -> None:
        self._site = site

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._site.received.put_nowait(data)


@dataclass
class Site:
    """A listener, and a sender at an address of its own, where answers to the ports of these messages arrive."""

    port: int
    received: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    calls: list[str] = field(default_factory=list)
    peer: asyncio.DatagramTransport | None = None
    asks: bool = False

    def send(self, data: bytes) -> None:
        assert self.peer is not None
        self.peer.sendto(data, ("127.0.0.1", self.port))

    async def response(self) -> IncomingResponse:
        return read(await asyncio.wait_for(self.received.get(), 10))

    async def alive(self, number: int) -> list[IncomingResponse]:
        """Return what came before the answer to an OPTIONS that is sent now."""
        call_id = f"alive-{number}-{random.getrandbits(40)}"
        self.send(request_text("OPTIONS", branch=f"z9hG4bK{call_id}", call_id=call_id).encode())
        before = []
        while (response := await self.response()).call_id != call_id:
            before.append(response)
        return before


def read(data: bytes) -> IncomingResponse:
    head, _, _ = data.partition(b"\r\n")
    try:
        message = parse_message(data)
    except ValueError:
        message = None
    assert isinstance(message, IncomingResponse), head
    return message


def status_of(data: bytes) -> int:
    return int(data.split(b" ", 2)[1])


@pytest.fixture(params=[False, True], ids=["trusted", "with a password"])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """Let a whole loopback address call without a password; answers without rport go to its port 5060 or 5050."""
    loop = asyncio.get_running_loop()
    address = f"127.{random.randint(1, 250)}.{os.getpid() % 250 + 1}.{random.randint(1, 250)}"
    stack = SipStack(quick_settings())
    await stack.start()
    site = Site(0)

    def take(call: IncomingInvite) -> None:
        site.calls.append(call.request_user)
        call.reject(CALL)

    async with contextlib.AsyncExitStack() as held:
        held.push_async_callback(stack.close)
        settings = EndpointSettings(server=SipServer(address), listen_port=0, listen_host="0.0.0.0")
        if request.param:
            settings = replace(settings, listen_user="pbx", listen_secret="geheim")
        site.asks = request.param
        endpoint = await stack.add_endpoint(settings, take)
        site.port = endpoint.listener.port
        for number in (5050, 5060):
            transport, _ = await loop.create_datagram_endpoint(lambda: _Peer(site), local_addr=(address, number))
            held.callback(transport.close)
            site.peer = transport
        yield site


def test_all_are_there() -> None:
    assert list(MESSAGES) == list(EXPECTED)
    assert len(MESSAGES) == 49


@pytest.mark.parametrize("name", MESSAGES)
async def test_torture(site: Site, name: str) -> None:
    data, expected = MESSAGES[name], asked(name) if site.asks else EXPECTED[name]
    is_invite = data.startswith(b"INVITE")
    site.send(data)
    statuses = []
    if expected is not None:
        answer = await asyncio.wait_for(site.received.get(), 10)
        if expected == CALL:
            assert status_of(answer) == 100
            answer = await asyncio.wait_for(site.received.get(), 10)
        statuses.append(status_of(answer))
        if expected != 401:
            check_answer(name, answer)
    # an INVITE's final answer is repeated until its ACK comes; nothing else is said twice
    rest = [response.status for response in await site.alive(1)]
    assert statuses == ([] if expected is None else [expected])
    assert set(rest) <= ({expected} if is_invite else set())
    assert site.calls == ([CALLED[name]] if expected == CALL else [])


CALLED = {"esc01": "sips:user@example.com", "longreq": "user", "baddate": "user", "inv2543": "UserB"}


def check_answer(name: str, answer: bytes) -> None:
    lines = answer.decode("utf-8", "surrogateescape").split("\r\n")
    values = {line.partition(":")[0]: line.partition(": ")[2] for line in lines[1:]}
    if name == "bext01":
        assert values["Unsupported"] == "nothingSupportsThis, nothingSupportsThisEither"
    elif name in {"intmeth", "esc02", "mpart01"}:
        assert "INVITE" in values["Allow"]
    elif name == "invut":
        assert values["Accept"] == "application/sdp"
    elif name == "transports":
        assert sum(line.startswith("Via:") for line in lines) == 5
    elif name == "longreq":
        assert sum(line.startswith("Via:") for line in lines) == 34
    if name == "intmeth":
        assert values["CSeq"] == "139122385 !interesting-Method0123456789_*+`.%indeed'~"
        assert '"BEL:\\\x07 NUL:\\\0 DEL:\\\x7f"' in values["To"]
    if name == "insuf":
        assert {"From", "To", "Call-ID"}.isdisjoint(values)


async def test_all_of_them_at_once_and_broken_then_a_call(site: Site) -> None:
    rng = random.Random(4475)
    for turn in range(3):
        for data in MESSAGES.values():
            at = rng.randrange(len(data))
            site.send((data, data[:at], data[:at] + rng.randbytes(3) + data[at + rng.randrange(9) :])[turn])
        await asyncio.sleep(0)
    await alive_at_last(site)


async def alive_at_last(site: Site) -> None:
    """Ask until the answer comes: the kernel may have dropped the question in the flood."""
    for number in range(20):
        with contextlib.suppress(TimeoutError):
            call_id = f"last-{number}"
            site.send(request_text("OPTIONS", branch=f"z9hG4bK{call_id}", call_id=call_id).encode())
            async with asyncio.timeout(2):
                while call_id.encode() not in await site.received.get():
                    pass
                return
    raise AssertionError("the listener does not answer any more")
