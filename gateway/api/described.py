"""Schemas of what other modules check and write, for `/openapi.json` alone.

The bridge's fields are validated by `gateway.domain.bridge_config`, which names every fault of a body at once; that
both agree is a test's business.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictStr

from gateway.api.schemas import Answer, Request
from gateway.domain.states import CallState, Direction

_Text = Annotated[StrictStr, Field(max_length=255)]
_Port = Annotated[int, Field(strict=True, ge=1, le=65535)] | Literal[""]
_Url = Annotated[StrictStr, Field(max_length=2048)]


class BridgeTestFields(Request):
    """The bridge's configuration: a field left out keeps its value, null or an empty string clears it."""

    enabled: StrictBool = Field(default=True, description="Whether the bridge is on")
    sipServer: _Text | None = Field(default=None, description="host[:port][;transport=udp|tcp|tls|ws|wss]")
    sipUser: _Text | None = Field(default=None, description="User of registration and digest; empty: a plain trunk")
    sipPass: _Text | None = Field(default=None, description="Its password; *** keeps the stored one")
    sipListenPort: _Port | None = Field(default=None, description="Port for calls from the PBX; cleared: 5080")
    sipListenUser: _Text | None = Field(default=None, description="User that callers authenticate as")
    sipListenSecret: _Text | None = Field(default=None, description="Its password; *** keeps the stored one")
    sipExtension: _Text | None = Field(default=None, description="Who is rung for WhatsApp calls")
    wasmServerPort: _Port | None = Field(default=None, description="Port of the wasm server; cleared: 9080")
    wasmServerIP: _Text | None = Field(default=None, description="The wasm server, as seen from Chrome's host")
    chromeRemoteURL: _Url | None = Field(default=None, description="Chrome's debugging address: ws://host:port")
    nodeRemoteHelper: _Url | None = Field(default=None, description="URL of the helper beside Chrome")


class BridgeFields(BridgeTestFields):
    """The bridge's configuration: a field left out keeps its value, null or an empty string clears it."""

    enabled: StrictBool = Field(description="Whether the bridge is on")


class BridgeConfigView(Answer):
    """The bridge's configuration, secrets masked."""

    enabled: bool
    sipServer: str | None
    sipUser: str | None
    sipPass: str | None
    sipListenPort: int
    sipListenUser: str | None
    sipListenSecret: str | None
    sipExtension: str | None
    wasmServerPort: int
    wasmServerIP: str | None
    chromeRemoteURL: str | None
    nodeRemoteHelper: str | None


class PartView(Answer):
    """One part."""

    state: str
    detail: str = Field(description="A sentence for people: why, and what mends it")


class PartsView(Answer):
    """The parts of a bridge."""

    page: PartView
    media: PartView
    registration: PartView
    listener: PartView
    phones: PartView


class CallLine(Answer):
    """A call in progress, in short."""

    id: str
    direction: Direction
    state: CallState
    peer: str
    created_at: str
    answered_at: str | None


class BridgeStatusView(Answer):
    """The state of each part, and the calls."""

    enabled: bool
    state: PartsView
    calls: list[CallLine]


class FaultView(Answer):
    """One fault of one field."""

    field: str
    message: str


class BridgeAnswer(Answer):
    """What a change came to."""

    status: Literal["ok"]
    message: str
    config: BridgeConfigView
    state: PartsView
    calls: list[CallLine]
    warnings: list[FaultView]


class ProblemView(Answer):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str = Field(description="Stable slug for programs; docs/api.md lists them")
    detail: str
    errors: list[FaultView] = Field(description="By field, where the request is to blame")
    call_id: str | None = Field(default=None, description="The call that the request is about")
    state: str | None = Field(default=None, description="The state that is to blame")


class Live(Answer):
    """The process lives."""

    status: Literal["ok"]


class CheckState(Answer):
    """One dependency."""

    ok: bool
    detail: str


class Ready(Answer):
    """Whether calls can be taken."""

    status: Literal["ok", "unfit"]
    checks: dict[str, CheckState]
