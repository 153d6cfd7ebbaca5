"""Settings of pages: how Chrome, helper and wasm server are reached."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, SecretStr, field_validator

from gateway.config.fields import Names, Port, Seconds, checked_host, checked_networks, split_names
from gateway.domain.hosts import parse_url


class PageSettings(BaseModel):
    """Where the page is and what is in it."""

    wasm_host: str = Field(default="127.0.0.1", description="Address of the wasm server that `ponte serve` starts")
    wasm_port: Port = Field(default=9080, description="Its port; the seed's default for wasmServerPort")
    page_url: str = Field(default="https://web.whatsapp.com/", description="The page that is driven")
    page_script: Path | None = Field(
        default=None,
        description="Python file with Playwright functions that drive the page at page_url (docs/script-driver.md); "
        "empty: the page is WhatsApp Web. It runs with the gateway's rights",
    )
    local_helper_url: str = Field(
        default="",
        description="Node helper of accounts that name neither Chrome nor helper; empty: one is started beside",
    )
    local_chrome: Path | None = Field(
        default=None, description="Chrome for a helper that is started beside; empty: the one that is installed"
    )
    local_chrome_flags: str = Field(
        default="", description="More flags for that Chrome, as a shell would split them; its sandbox stays on"
    )
    helper_token: SecretStr | None = Field(
        default=None,
        description="Bearer token for node helpers whose URL has no userinfo; the helper reads the same variable",
    )
    allow_hosts: Names = Field(
        default=(),
        description="Host names, addresses and networks, separated by commas, that chromeRemoteURL, nodeRemoteHelper "
        "and wasmServerIP may lead to beside loopback and private networks; empty, because both ends of such a "
        "connection are full control of a WhatsApp account",
    )
    build_check_s: Annotated[float, Field(ge=60, le=604_800)] = Field(
        default=21_600.0,
        description="Seconds between trials of the build that WhatsApp Web serves, in a page of its own; a new one "
        "comes every few days and open pages are told, and a trial loads some 20 MB",
    )
    force_calling_gates: Names = Field(
        default=(),
        description="Ids of accounts, separated by commas, in whose page WhatsApp's gates for calls are forced open; "
        "empty, because an account for which WhatsApp has not enabled calls on the web may be noticed by it",
    )
    connect_timeout_s: Seconds = Field(
        default=5.0,
        description="Seconds to reach Chrome, helper or wasm server; a LAN takes milliseconds, a VPN one second",
    )
    http_timeout_s: Seconds = Field(default=10.0, description="Seconds for an answer of helper or wasm server")
    webrtc_connect_timeout_s: Seconds = Field(
        default=15.0, description="Seconds for ICE and DTLS with a page or a client"
    )
    reconnect_max_s: Seconds = Field(
        default=10.0,
        description="Cap of the pause between two tries to reach Chrome: what came back is found within it",
    )
    ca_file: Path | None = Field(
        default=None,
        description="Certificates to trust for https and wss to Chrome, helper and wasm server; empty: the system's",
    )

    @field_validator("allow_hosts", "force_calling_gates", mode="before")
    @classmethod
    def _page_names(cls, value: object) -> object:
        return split_names(value)

    @field_validator("allow_hosts")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return checked_networks(value)

    @field_validator("local_chrome_flags")
    @classmethod
    def _flags(cls, value: str) -> str:
        shlex.split(value)  # its ValueError says which quote is left open
        return value

    @field_validator("page_url", "local_helper_url")
    @classmethod
    def _url(cls, value: str) -> str:
        if value:
            parse_url(value, ("https", "http"))
        return value

    @field_validator("wasm_host")
    @classmethod
    def _page_host(cls, value: str) -> str:
        return checked_host(value)
