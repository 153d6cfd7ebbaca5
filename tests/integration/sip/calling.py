"""A WhatsApp call that the bridge offers to a PBX that a test plays."""

from __future__ import annotations

from gateway.bridge.call import Call, CallLimits
from gateway.bridge.call_media import CallMedia
from gateway.bridge.flows import whatsapp_to_sip
from gateway.domain.ids import AccountId, new_call_id
from gateway.domain.states import Direction
from gateway.domain.termination import HANGUP
from gateway.protocol.sip.digest import DigestClient
from gateway.sip import Endpoint, EndpointSettings, SipServer
from tests.bench.called import Called
from tests.integration.bridge.rig import PlayedCall, PlayedPage, PlayedPort

USER, PASSWORD = "whatsapp_trunk", "mySecurePassword123"
_LIMITS = CallLimits(ring_timeout_s=20, accept_timeout_s=20, close_timeout_s=20)


async def towards(ponte: Called, port: int, *, registers: bool = False) -> Endpoint:
    """An endpoint whose server listens on a port; it answers challenges also where it does not register."""
    settings = EndpointSettings(
        server=SipServer("127.0.0.1", port, "udp"), user=USER if registers else "", password=PASSWORD, listen_port=0,
        listen_host="127.0.0.1",
    )  # fmt: skip
    endpoint = await ponte.stack.add_endpoint(settings, ponte.take)
    if not registers:
        endpoint._auth = DigestClient(USER, PASSWORD, ponte.stack.token)
    return endpoint


async def run_call_from_whatsapp(ponte: Called, port: int) -> list[str]:
    """Have somebody call by WhatsApp until the PBX hangs up, and return what the page was told."""
    assert ponte.plane is not None
    endpoint = await towards(ponte, port)
    incoming, call_id = PlayedCall(outgoing=False), new_call_id()
    media = CallMedia(call_id, ponte.plane, PlayedPage(), PlayedPort())
    call = Call(call_id, AccountId("a"), Direction.WHATSAPP_TO_SIP, media, _LIMITS, lambda _: None)
    assert await call.run(lambda one: whatsapp_to_sip(one, incoming, endpoint, "1000")) == HANGUP
    return incoming.told
