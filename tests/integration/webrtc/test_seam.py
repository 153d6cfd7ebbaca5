"""The private names of aiortc and aioice that `gateway.webrtc.seam` stands on.

Where this fails after an upgrade, read how the new version does what the name did, and mend the seam.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import aioice
import aioice.ice
import aioice.stun
import pylibsrtp
import pytest
from aiortc import RTCCertificate, RTCDtlsTransport, RTCIceGatherer, RTCIceTransport

from gateway.domain.errors import ConfigError
from gateway.webrtc import seam
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
    present(aioice.ice, "StunProtocol")
    present(aioice.stun, "parse_message")
    assert inspect.iscoroutinefunction(connection.get_component_candidates)
    assert {"component", "addresses"} <= set(inspect.signature(connection.get_component_candidates).parameters)
    transport = RTCDtlsTransport(RTCIceTransport(gatherer), [RTCCertificate.generateCertificate()])
    present(transport, "_set_role", "_rx_srtp", "_tx_srtp", "_task", "_role")
    transport._set_role("server")
    assert transport._role == "server"
    await connection.close()


async def test_gathering_binds_one_protocol_for_each_address_and_reads_through_the_name_that_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection = aioice.Connection(ice_controlling=True)
    await connection.get_component_candidates(component=1, addresses=["127.0.0.1"])
    (protocol,) = connection._protocols
    present(protocol, "datagram_received", "transport", "local_candidate")
    seen: list[bytes] = []
    monkeypatch.setattr(protocol, "datagram_received", lambda data, addr: seen.append(data))
    transport = protocol.transport
    present(transport, "max_size", "get_write_buffer_size", "sendto")
    transport.sendto(b"\x80 straight to the replaced name", transport.get_extra_info("sockname"))
    async with asyncio.timeout(5):
        while not seen:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    await connection.close()


def test_srtp_has_the_four_verbs() -> None:
    present(pylibsrtp.Session, "protect", "unprotect", "protect_rtcp", "unprotect_rtcp")
    present(pylibsrtp, "Error")


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
