"""RFC 5118: the IPv6 torture messages to a listener on IPv6, with the answers that the RFC asks for."""

from __future__ import annotations

import asyncio

import pytest

from gateway.sip import EndpointSettings, IncomingInvite, SipServer, SipStack
from tests.support.sip_ua import quick_settings
from tests.support.torture_v6 import MESSAGES

pytestmark = pytest.mark.integration

CALL = 486  # what the test answers to each call that is told
EXPECTED = {
    "4.1 valid reference": 405,  # well-formed; no registrar for whom nothing but its address speaks
    "4.2 reference without brackets": 400,
    "4.3 port inside the brackets": 405,
    "4.4 port outside the brackets": 405,
    "4.5 received with brackets": 481,
    "4.5 received without brackets": 200,
    "4.6 SDP with IPv6": CALL,
    "4.7 both families in Via": 481,
    "4.8 both families in SDP": CALL,
    "4.9 IPv4-mapped addresses": CALL,
    "4.10 three colons": 200,  # read, as the grammar of RFC 3261 had it
}


def test_all_are_there() -> None:
    assert list(MESSAGES) == list(EXPECTED)


@pytest.mark.parametrize("name", MESSAGES)
async def test_torture(name: str) -> None:
    stack = SipStack(quick_settings())
    await stack.start()
    calls: list[IncomingInvite] = []

    def take(call: IncomingInvite) -> None:
        calls.append(call)
        call.reject(CALL)

    try:
        endpoint = await stack.add_endpoint(
            EndpointSettings(server=SipServer("::1"), listen_port=0, listen_host="::1"), take
        )
        # by TCP: an answer comes by the connection, whatever port Via names
        reader, writer = await asyncio.open_connection("::1", endpoint.listener.port)
        writer.write(MESSAGES[name])
        statuses: list[int] = []
        vias = 0
        async with asyncio.timeout(10):
            while not statuses or statuses[-1] < 200:
                head = await reader.readuntil(b"\r\n\r\n")
                statuses.append(int(head.split(b" ", 2)[1]))
                vias = head.count(b"\r\nVia:")
        writer.close()
        assert statuses[-1] == EXPECTED[name]
        assert vias == MESSAGES[name].count(b"\r\nVia:")
        assert len(calls) == (EXPECTED[name] == CALL)
        if calls:
            assert "IN IP6" in (calls[0].sdp or "")
    finally:
        await stack.close()
