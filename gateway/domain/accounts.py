"""What can be in the way of making and removing accounts."""

from __future__ import annotations

from gateway.domain.errors import PonteError


class AccountExists(PonteError):
    """There is an account of that name."""

    code = "account_exists"
    http_status = 409

    def __init__(self) -> None:
        super().__init__("There is an account of that name already")


class AccountRemoved(PonteError):
    """The account was removed, or is being removed; nothing was changed."""

    code = "account_removed"
    http_status = 409

    def __init__(self) -> None:
        super().__init__("This account was removed")


class AccountInCall(PonteError):
    """The account has a call in progress; nothing was changed."""

    code = "call_in_progress"
    http_status = 409

    def __init__(self) -> None:
        self.refused_in = "IN_CALL"
        super().__init__("The account has a call in progress: wait for its end, or force the removal, which ends it")
