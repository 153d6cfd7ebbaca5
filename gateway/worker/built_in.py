"""The built-in media plane with all that it needs of aiortc."""

from __future__ import annotations

from functools import partial

from gateway.codecs.sound import SoundCodecs
from gateway.media.built_in import PlaneSettings
from gateway.media.router import PacketRouter
from gateway.media.sockets import SocketWatch
from gateway.webrtc.client_link import ClientLink, ClientLinkSettings
from gateway.webrtc.leg import WebRtcLeg


def built_in_plane(settings: PlaneSettings, watch: SocketWatch | None = None) -> PacketRouter:
    """Return the plane, in this process.

    Args:
        settings: of the plane.
        watch: tells when a packet comes; None: the event loop.

    Raises:
        ConfigError: the port range holds no pair of ports.
    """
    clients = ClientLinkSettings(
        addresses=settings.clients.addresses,
        public_address=settings.clients.public_address,
        connect_timeout_s=settings.clients.connect_timeout_s,
    )
    return PacketRouter(
        port_range=settings.port_range,
        offer_srtp=settings.offer_srtp,
        webrtc_link=lambda pool: ClientLink(pool, clients, watch),
        page_leg=partial(WebRtcLeg, watch=watch),
        watch=watch,
        codecs=settings.codecs,
        sounds=SoundCodecs.load(settings.opus),
    )
