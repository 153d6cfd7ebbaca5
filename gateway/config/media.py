"""Settings of the media plane."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator
from pydantic_settings import NoDecode

from gateway.config.fields import Names, Port, split_names
from gateway.domain.hosts import split_host_port


class MediaSettings(BaseModel):
    """Ports, codecs and keys of audio."""

    media: Literal["built-in", "rtpengine"] = Field(
        default="built-in",
        description="What carries the audio: this gateway's own workers, or an rtpengine that the site has (ng "
        "protocol), whose ports, addresses and codecs are set there; docs/rtpengine.md says how the two differ",
    )
    rtpengine: str = Field(
        default="udp:127.0.0.1:2223",
        description="Where that rtpengine listens for ng, as udp:host:port; Debian's own setting. Whoever reaches that "
        "port commands every call there: keep it on loopback or a private network",
    )
    rtpengine_keys: str = Field(
        default="",
        description="Address and port of ours, as host:port, that its dtmf-log-dest names, so that telephone keys in "
        "the phones' RTP are told (RFC 4733); empty: only keys by INFO are",
    )
    rtpengine_interfaces: Annotated[Names, Field(max_length=2)] = Field(
        default=(),
        description="Names of its interfaces towards pages and towards the PBX, separated by a comma, where it has "
        "several; empty: its first one",
    )
    rtp_port_min: Port = Field(
        default=30000,
        description="First RTP port. The range lies below Linux's ephemeral ports and beside Asterisk's RTP",
    )
    rtp_port_max: Port = Field(default=30999, description="Last RTP port; two ports a call, so 500 calls")
    media_workers: Annotated[int, Field(ge=0, le=64)] = Field(
        default=1,
        description="Processes that the audio of calls goes through, apart from this one so that nothing here delays a "
        "packet; one carries a hundred calls, so more only help on a machine with more cores that are all needed. They "
        "share the RTP ports. 0: none, this process does it",
    )
    webrtc_addresses: Names = Field(
        default=(),
        description="Addresses of this machine that WebRTC SIP clients are told to send audio to, separated by commas; "
        "empty: the one that the client's signalling came to and those of every interface. public_address, where it is "
        "an IP address, is told as well",
    )
    srtp: Literal["accept", "offer"] = Field(
        default="accept",
        description="SRTP (SDES keys) towards the PBX: `accept` takes it where the PBX offers it, `offer` also asks "
        "for it in calls to the PBX, and has no call without it. The keys travel in the SDP: who reads SIP can decrypt",
    )
    codecs: Annotated[tuple[Literal["opus", "G722", "PCMA", "PCMU"], ...], NoDecode, Field(min_length=1)] = Field(
        default=("opus", "G722", "PCMA", "PCMU"),
        description="Audio codecs towards the PBX, separated by commas, best first: the order of our offers; an answer "
        "follows the PBX's. The page follows, so that as a rule none is converted, and none costs more here. Wide band "
        "comes first, since WhatsApp's sound is: a PBX that allows G.711 only takes that. A-law before mu-law, as "
        "trunks in Brazil and Europe have it",
    )

    opus_complexity: int = Field(
        default=5,
        ge=0,
        le=10,
        description="Work that goes into Opus where something is converted into it, which is seldom: 10 sounds a "
        "little better than 5 and costs half as much again",
    )

    @field_validator("rtpengine")
    @classmethod
    def _rtpengine(cls, value: str) -> str:
        transport, _, address = value.partition(":")
        if transport != "udp" or split_host_port(address)[1] is None:
            raise ValueError("must be udp:host:port")
        return value

    @field_validator("rtpengine_keys")
    @classmethod
    def _rtpengine_keys(cls, value: str) -> str:
        if value and split_host_port(value)[1] is None:
            raise ValueError("must be host:port")
        return value

    @field_validator("rtpengine_interfaces")
    @classmethod
    def _rtpengine_interfaces(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(value) == 1:
            raise ValueError("must name two interfaces: towards pages, and towards the PBX")
        return value

    @property
    def rtpengine_address(self) -> tuple[str, int]:
        """Host and port of rtpengine's ng."""
        host, port = split_host_port(self.rtpengine.partition(":")[2])
        return host, port or 0

    @property
    def rtpengine_keys_address(self) -> tuple[str, int] | None:
        """Where its keys come to; None: nowhere."""
        host, port = split_host_port(self.rtpengine_keys) if self.rtpengine_keys else ("", None)
        return (host, port) if port is not None else None

    @field_validator("webrtc_addresses", "codecs", "rtpengine_interfaces", mode="before")
    @classmethod
    def _media_names(cls, value: object) -> object:
        return split_names(value)

    @field_validator("webrtc_addresses")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for address in value:
            ipaddress.ip_address(address)  # its ValueError names it
        return value

    @model_validator(mode="after")
    def _rtp_range(self) -> Self:
        if self.rtp_port_max < self.rtp_port_min + 1:
            raise ValueError("rtp_port_max must be above rtp_port_min: a call needs two ports")
        if (self.rtp_port_max + 1 - (self.rtp_port_min + 1) // 2 * 2) // 2 < self.media_workers:
            raise ValueError("each of media_workers needs two of the RTP ports")
        return self
