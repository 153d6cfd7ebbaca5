"""Settings of what is kept: database, secrets, records, webhooks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, SecretStr, field_validator

from gateway.config.fields import Names, Seconds, checked_networks, split_names


def _state_dir() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "ponte"


class StoreSettings(BaseModel):
    """What is kept, where, and for how long."""

    state_dir: Path = Field(default_factory=_state_dir, description="Folder of database and secret key, made 0700")
    database_url: str = Field(
        default="", description="SQLAlchemy URL, SQLite or PostgreSQL; empty: SQLite file ponte.db in state_dir"
    )
    database_timeout_s: Annotated[float, Field(gt=0, le=60)] = Field(
        default=5.0, description="Seconds to wait for a locked database before the request fails with a 500"
    )
    call_retention_days: Annotated[int, Field(ge=0, le=36500)] = Field(
        default=90,
        description="Days that call records are kept after the call's end, then they are deleted; 0 keeps them for "
        "ever. They name people: no longer than invoices and complaints need",
    )
    event_retention_days: Annotated[int, Field(ge=1, le=3650)] = Field(
        default=7,
        description="Days that events are kept for subscribers that resume, and as the webhooks' log; what a webhook "
        "waits for is kept longer",
    )
    event_log_size: Annotated[int, Field(ge=1000, le=100_000_000)] = Field(
        default=200_000, description="Events that are kept at most, all accounts together; about 200 MB"
    )
    webhook_allow_hosts: Names = Field(
        default=(),
        description="Host names, addresses and networks, separated by commas, that webhooks may be sent to beside "
        "public addresses, and by http too; empty, because whoever has an API key could reach into your network",
    )
    webhook_timeout_s: Seconds = Field(
        default=15.0, description="Seconds for a webhook's endpoint to answer; the scheme asks for 15 to 30"
    )
    secret_key: SecretStr | None = Field(
        default=None, description="Fernet keys separated by commas, newest first; empty: taken from secret_key_file"
    )
    secret_key_file: Path | None = Field(
        default=None,
        description="File with one Fernet key a line, newest first; default secret.key in state_dir, made 0600",
    )

    @field_validator("webhook_allow_hosts", mode="before")
    @classmethod
    def _store_names(cls, value: object) -> object:
        return split_names(value)

    @field_validator("webhook_allow_hosts")
    @classmethod
    def _webhook_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return checked_networks(value)

    @property
    def effective_database_url(self) -> str:
        """The database URL with the default filled in. May hold a password: never logged."""
        return self.database_url or f"sqlite:///{self.state_dir / 'ponte.db'}"

    @property
    def effective_secret_key_file(self) -> Path:
        """The key file with the default filled in."""
        return self.secret_key_file or self.state_dir / "secret.key"
