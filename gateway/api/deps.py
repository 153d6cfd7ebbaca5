"""What the API needs of the rest of the gateway."""

from __future__ import annotations

from typing import Protocol

from gateway.domain.bridge_config import BridgeConfig
from gateway.domain.bridge_status import BridgeStatus
from gateway.domain.ids import AccountId


class Accounts(Protocol):
    """The accounts, as the API sees them; `gateway.accounts` implements it.

    The API changes a configuration in this order: validate, `check`, commit to the store, `apply`. Only one change
    per account runs at a time. What is acknowledged is therefore stored, and what is refused changed nothing.
    """

    async def check(self, account: AccountId, config: BridgeConfig) -> None:
        """Say whether *config* could be applied now, and change nothing.

        Raises:
            ConfigError: it cannot, and only the user can mend it: the port is in use by another program, or another
                account has the same port and the same listen user. With ``field`` set, for example sipListenPort.
        """

    async def apply(self, account: AccountId, config: BridgeConfig) -> None:
        """Put *config* into force without cutting a call in progress, and return when the parts took it over.

        Does not wait for peers: a Chrome, PBX or wasm server that cannot be reached is not an error but shows in
        `status`, and is tried again.

        Raises:
            ConfigError: as in `check`, where something came in between; then nothing changed.
        """

    def status(self, account: AccountId) -> BridgeStatus:
        """Return the state of the account's parts and its calls; also for an account that was never configured."""
