"""Settings of the built-in media plane that can be sent to another process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from gateway.codecs.sound import OpusSettings
from gateway.domain.codecs import CODECS
from gateway.domain.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How WebRTC clients of the SIP side are reached; see `gateway.webrtc.client_link.ClientLinkSettings`.

    Attributes:
        addresses: local IP addresses to name in candidates; none: those of all interfaces.
        public_address: the address that stands for ours on the outside of a NAT.
        connect_timeout_s: for ICE and DTLS together.
    """

    addresses: Sequence[str] = ()
    public_address: str = ""
    connect_timeout_s: float = 15.0


@dataclass(frozen=True, slots=True)
class PlaneSettings:
    """How the built-in plane is made; see `gateway.media.router.PacketRouter`.

    Attributes:
        port_range: lowest and highest UDP port, both included.
        offer_srtp: offer SRTP, and nothing else, to the peers that we call.
        codecs: that are spoken with SIP peers, best first.
        clients: how WebRTC clients are reached.
        opus: how Opus is made, where something is converted into it.
    """

    port_range: tuple[int, int]
    offer_srtp: bool = False
    codecs: Sequence[str] = tuple(CODECS)
    clients: ClientSettings = field(default_factory=ClientSettings)
    opus: OpusSettings = field(default_factory=OpusSettings)

    def split(self, parts: int) -> tuple[PlaneSettings, ...]:
        """Return the settings of *parts* planes that share the ports evenly.

        Raises:
            ConfigError: there are fewer pairs of ports than parts.
        """
        low, high = self.port_range
        first = low + low % 2
        pairs = (high - first + 1) // 2
        if pairs < parts:
            raise ConfigError("There are more media workers than pairs of RTP ports", "media_workers")
        edges = [first + 2 * (pairs * part // parts) for part in range(parts + 1)]
        return tuple(replace(self, port_range=(start, end - 1)) for start, end in pairwise(edges))
