"""Settings of SIP."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator
from pydantic_settings import NoDecode

from gateway.config.fields import Names, SharedPort, checked_host, split_names


class SipSettings(BaseModel):
    """Listeners, transports and what is told to strangers."""

    sip_host: str = Field(
        default="0.0.0.0",
        description="Address of SIP listeners. They start only when an account is configured and let nobody in "
        "without digest or a known address, so every interface is a safe default that a PBX can reach",
    )
    sip_digest: Annotated[tuple[Literal["MD5", "SHA-256", "SHA-512-256"], ...], NoDecode, Field(min_length=1)] = Field(
        default=("MD5",),
        description="Digest algorithms that callers may use, separated by commas, the preferred one first. MD5 alone, "
        "since kamailio 5.6 and baresip 1.0 give up on a challenge that offers SHA-256 beside it",
    )
    sip_strangers: Literal["answer", "drop_scanners", "silent"] = Field(
        default="drop_scanners",
        description="What is told to those who are neither an address of a sipServer nor proved a password within the "
        "hour: `answer` as RFC 3261 has it, `drop_scanners` the same but nothing to who calls itself as known scanners "
        "do, `silent` nothing but the challenge that a caller with a password needs",
    )
    sip_redirects: Annotated[int, Field(ge=0, le=10)] = Field(
        default=3,
        description="Other extensions that a call to the PBX is tried at when it is answered 300, 301 or 302, always "
        "by way of sipServer; 0: none",
    )
    sip_tls_port: SharedPort | None = Field(
        default=None,
        description="Port of SIP over TLS for all accounts, by custom 5061; empty: none, because it needs a "
        "certificate",
    )
    sip_ws_port: SharedPort | None = Field(
        default=None,
        description="Port of SIP over WebSocket (RFC 7118) without TLS, for behind a proxy that ends TLS; empty: none",
    )
    sip_wss_port: SharedPort | None = Field(
        default=None, description="Port of SIP over WebSocket with TLS; empty: none, because it needs a certificate"
    )
    sip_ws_path: Annotated[str, Field(pattern=r"^/[!-~]*$")] = Field(
        default="/ws",
        description="Path of WebSockets that are opened to a sipServer; Asterisk's. What others open may have any",
    )
    sip_ws_origins: Names = Field(
        default=(),
        description="Origins of web pages whose browsers may open a WebSocket here, separated by commas, for example "
        "https://phone.example.com; empty: any, since a page that connects still needs the account's password, and "
        "browsers send none by themselves. What sends no Origin is no browser and may connect in any case",
    )
    sip_session_expires_s: Annotated[int, Field(ge=0, le=86400)] = Field(
        default=600,
        description="Session interval that calls ask for (RFC 4028), 90 s at least; 0: none. A third of what the RFC "
        "recommends, since a dead call holds an account's only line",
    )
    sip_outbound: bool = Field(
        default=True,
        description="Register over connections as RFC 5626 has it (instance, reg-id): a PBX that knows it keeps one "
        "binding over reconnections and calls by the connection; others pass over it",
    )
    sip_gruu: bool = Field(
        default=False,
        description="Ask the registrar for a GRUU (RFC 5627) and use it as Contact of calls. Off, because a proxy that "
        "gives GRUUs and does not look them up in dialogs (kamailio as it comes) loses every BYE",
    )
    sip_tls_certificate: Path | None = Field(
        default=None,
        description="PEM file with the certificate of SIP over TLS and its chain: for the listeners, and for servers "
        "that ask for one; empty: none",
    )
    sip_tls_key: Path | None = Field(
        default=None, description="PEM file with its key, without a password; empty: it stands in the same file"
    )
    sip_tls_verify_clients: bool = Field(
        default=False,
        description="Let only those connect by TLS and WSS who show a certificate of a trusted authority. Callers are "
        "asked for their password either way",
    )
    sip_ca_file: Path | None = Field(
        default=None,
        description="PEM file with the authorities to trust for SIP over TLS; empty: the system's. Apart from ca_file, "
        "since a PBX often has an authority of its own",
    )
    public_address: str = Field(
        default="",
        description="Address written into SIP and SDP; empty: the local address that each peer is reached from",
    )

    @field_validator("sip_digest", "sip_ws_origins", mode="before")
    @classmethod
    def _sip_names(cls, value: object) -> object:
        return split_names(value)

    @field_validator("sip_ws_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not re.fullmatch(r"https?://[a-z0-9.\-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?", origin):
                raise ValueError(
                    f"{origin!r} is no origin like https://phone.example.com (RFC 6454: lower case, no path)"
                )
        return value

    @field_validator("sip_session_expires_s")
    @classmethod
    def _session(cls, value: int) -> int:
        if 0 < value < 90:
            raise ValueError("must be 0, or 90 or more (RFC 4028 section 4)")
        return value

    @field_validator("sip_host", "public_address")
    @classmethod
    def _sip_host(cls, value: str) -> str:
        return checked_host(value)

    @model_validator(mode="after")
    def _sip_tls(self) -> Self:
        for name in ("sip_tls_port", "sip_wss_port"):
            if getattr(self, name) is not None and self.sip_tls_certificate is None:
                raise ValueError(f"{name} needs sip_tls_certificate")
        ports = [port for port in (self.sip_tls_port, self.sip_ws_port, self.sip_wss_port) if port]
        if len(set(ports)) < len(ports):
            raise ValueError("sip_tls_port, sip_ws_port and sip_wss_port must differ")
        return self
