"""The private names of aiortc and aioice that `gateway.webrtc.seam` stands on.

Where this fails after an upgrade, read how the new version does what the name did, and mend the seam.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
from typing import Any

import aioice
import aioice.ice
import aioice.stun
import pylibsrtp
import pytest
from aiortc import RTCCertificate, RTCDtlsTransport, RTCIceGatherer, RTCIceTransport

from gateway.domain.errors import ConfigError
from gateway.media.ports import bind_udp
from gateway.media.sockets import LoopWatch
from gateway.webrtc import seam
from gateway.webrtc.chosen_pair import ChosenPair
from gateway.webrtc.datagrams import Datagrams
from gateway.webrtc.leg import WebRtcLeg

pytestmark = pytest.mark.integration


def present(owner: Any, *names: str) -> None:
    for name in names:
        assert hasattr(owner, name), f"{type(owner).__module__}.{type(owner).__name__} has no {name} any more"


async def test_the_names_that_the_seam_uses_are_there() -> None:
    gatherer = RTCIceGatherer(iceServers=[])
    present(gatherer, "_connection")
    connection = gatherer._connection
    present(connection, "ice_controlling", "local_username", "local_password", "local_candidates", "_nominated")
    present(connection, "_protocols", "get_component_candidates", "add_remote_candidate", "_queue")
    assert connection._queue.qsize() == 0
    present(connection, "stun_server", "remote_password", *ChosenPair.NAMES)
    assert inspect.iscoroutinefunction(connection.query_consent)
    assert {"pair", "nominate"} <= set(inspect.signature(connection.build_request).parameters)
    assert aioice.ice.CandidatePair.State.SUCCEEDED
    present(aioice.ice, "StunProtocol", "server_reflexive_candidate")
    present(aioice.stun, "parse_message")
    assert inspect.iscoroutinefunction(connection.get_component_candidates)
    assert {"component", "addresses"} <= set(inspect.signature(connection.get_component_candidates).parameters)
    transport = RTCDtlsTransport(RTCIceTransport(gatherer), [RTCCertificate.generateCertificate()])
    present(transport, "_set_role", "_rx_srtp", "_tx_srtp", "_task", "_role")
    transport._set_role("server")
    assert transport._role == "server"
    await connection.close()


async def test_aioice_lives_with_a_transport_of_ours() -> None:
    connection = aioice.Connection(ice_controlling=True)
    protocol = aioice.ice.StunProtocol(connection)
    seen: list[tuple[bytes, str]] = []
    transport = Datagrams(bind_udp(socket.AF_INET, "127.0.0.1", 0), protocol, LoopWatch())
    assert protocol.transport is transport, "connection_made keeps it"
    transport.on_packet = lambda data, address, now_s: not seen.append((data, address[0]))  # type: ignore[func-returns-value]
    protocol.transport.sendto(b"\x80 to ourselves", transport.get_extra_info("sockname"))
    async with asyncio.timeout(5):
        while not seen:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        assert seen == [(b"\x80 to ourselves", "127.0.0.1")]
        await protocol.close()  # waits for connection_lost
    assert transport.is_closing()
    assert not transport.send_now(b"too late", ("127.0.0.1", 9))
    await connection.close()


async def test_a_stun_server_tells_how_our_sockets_are_seen_from_outside() -> None:
    outside = ("203.0.113.7", 4711)

    class Server(asyncio.DatagramProtocol):
        transport: Any

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, address: Any) -> None:
            request = aioice.stun.parse_message(data)
            answer = aioice.stun.Message(
                request.message_method, aioice.stun.Class.RESPONSE, transaction_id=request.transaction_id
            )
            answer.attributes["XOR-MAPPED-ADDRESS"] = outside
            self.transport.sendto(bytes(answer), address)

    server, _ = await asyncio.get_running_loop().create_datagram_endpoint(Server, local_addr=("127.0.0.1", 0))
    port = server.get_extra_info("sockname")[1]
    path = seam.IcePath(addresses=["127.0.0.1", "::1"], stun_url=f"stun:127.0.0.1:{port}", controlling=True)
    try:
        await path.gather(lambda protocol: None)
        kinds = [candidate.split() for candidate in path.candidates()]
    finally:
        await path.close()
        server.close()
    assert [words[7] for words in kinds] == ["host", "host", "srflx"]
    assert (kinds[2][4], int(kinds[2][5])) == outside
    assert kinds[2][9:12:2] == ["127.0.0.1", kinds[2][11]]
    assert int(kinds[0][3]) > int(kinds[1][3]) > int(kinds[2][3]), "priorities"


def test_srtp_has_its_four_verbs_and_what_they_work_on() -> None:
    present(pylibsrtp.Session, "protect", "unprotect", "protect_rtcp", "unprotect_rtcp")
    present(pylibsrtp, "Error", "SRTP_MAX_TRAILER_LEN", "SRTP_MAX_SRTCP_TRAILER_LEN")
    present(pylibsrtp.Session(), "_srtp", "_cdata", "_buffer")


def test_default_addresses_are_those_of_aioice() -> None:
    assert seam.local_addresses() == aioice.ice.get_host_addresses(use_ipv4=True, use_ipv6=True)
    assert "127.0.0.1" not in seam.local_addresses()


async def test_a_missing_name_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(RTCDtlsTransport, "_set_role")
    leg = WebRtcLeg(addresses=["127.0.0.1"])
    with pytest.raises(seam.SeamBroken, match=r"RTCDtlsTransport has no _set_role any more.*seam\.py"):
        await leg._transports.connect_dtls([], server=True)
    await leg.close()


async def test_a_malformed_stun_url_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="stun:host:port"):
        WebRtcLeg(stun_url="http://example.com")
