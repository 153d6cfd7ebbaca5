"""The error tree. Every error says how each edge should answer with it.

PonteError
├── ConfigError          a setting or a request field is wrong; mend it and try again
├── ProtocolError
│   ├── RemoteProtocolError   the peer broke a rule of its protocol
│   └── LocalProtocolError    we were asked to break one (a bug of ours)
├── IllegalTransition    an event that the state does not allow
├── Unavailable          a part is down and is being tried again
├── PeerTimeout          a peer did not answer in time
└── Refused              a peer answered no
"""

from __future__ import annotations

from typing import ClassVar


class PonteError(Exception):
    """Base of all errors that Ponte raises on purpose.

    The text is one sentence for a person and holds no personal data and no secret.

    Attributes:
        code: stable slug for programs.
        http_status: what the HTTP API answers with.
        sip_status: what a SIP request is answered with.
        retryable: whether the same thing may work later without a change.
        refused_in: the state that something was refused in, where a state is the reason.
    """

    code: ClassVar[str] = "internal"
    http_status: ClassVar[int] = 500
    sip_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    refused_in: str | None = None


class ConfigError(PonteError):
    """A setting or a request field is wrong.

    Args:
        message: what is wrong and how to mend it.
        field: the name of the field, where one is to blame.
    """

    code = "config_invalid"
    http_status = 400

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class ProtocolError(PonteError):
    """A rule of a wire protocol was broken."""

    code = "protocol_error"


class RemoteProtocolError(ProtocolError):
    """The peer sent something that its protocol does not allow.

    Args:
        message: what was wrong.
        status: the SIP status to answer with, where the protocol is SIP.
    """

    code = "remote_protocol_error"
    http_status = 502
    sip_status = 400

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class LocalProtocolError(ProtocolError):
    """We tried to do something that the protocol does not allow in this state."""

    code = "local_protocol_error"


class IllegalTransition(PonteError):
    """An event that the state does not allow; nothing was changed."""

    code = "illegal_transition"
    http_status = 409

    def __init__(self, state: object, event: object) -> None:
        super().__init__(f"{type(event).__name__} is not allowed in {state}")
        self.state = state
        self.event = event


class Unavailable(PonteError):
    """A part that is needed is down; it is tried again by itself."""

    code = "unavailable"
    http_status = 503
    sip_status = 503
    retryable = True


class PeerTimeout(Unavailable):
    """A peer did not answer in time."""

    code = "peer_timeout"
    http_status = 504


class Refused(PonteError):
    """A peer answered, and the answer was no."""

    code = "refused"
    http_status = 502
    sip_status = 502
