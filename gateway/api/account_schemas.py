"""What ``/accounts`` takes and gives."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictStr

from gateway.api.described import PartView
from gateway.api.schemas import Answer, Request
from gateway.events.models import Instant

Label = Annotated[StrictStr, Field(pattern=r"^([!-~]([ -~]{0,62}[!-~])?)?$", description="A note for yourself")]


class AccountRequest(Request):
    """An account that is asked for."""

    name: StrictStr = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", examples=["acme"], description="Stands in paths, so plain"
    )
    label: Label = Field(default="", description="A note on its first key")


class KeyRequest(Request):
    """A key that is asked for."""

    label: Label = ""


class KeyView(Answer):
    """An API key; the key itself is not stored."""

    id: str
    label: str
    created_at: Instant
    revoked_at: Instant | None = Field(description="From then on it is refused; null while it is good")


class NewKey(KeyView):
    """An API key that was made just now."""

    key: str = Field(description="It is shown this once")


class AccountParts(Answer):
    """The state of an account's parts, as `GET /call/bridge/status` shows it to the account itself."""

    page: PartView
    media: PartView
    registration: PartView
    listener: PartView
    phones: PartView


class AccountView(Answer):
    """An account."""

    id: str
    name: str
    created_at: Instant
    enabled: bool | None = Field(description="Whether its bridge is on; null where it was never configured")
    state: AccountParts
    calls: int = Field(description="Calls in progress")


class AccountDetail(AccountView):
    """An account and its keys."""

    keys: list[KeyView] = Field(description="Oldest first, revoked ones as well")


class NewAccount(AccountView):
    """An account that was made just now, with its first key."""

    key: NewKey


class AccountList(Answer):
    """The accounts of this gateway, oldest first."""

    accounts: list[AccountView]


class RemovalQuery(Request):
    """How an account is removed."""

    force: Literal["true", "false"] = Field(default="false", description="End a call in progress as well")
    delete_calls: Literal["true", "false"] = Field(default="false", description="Delete its call records as well")
