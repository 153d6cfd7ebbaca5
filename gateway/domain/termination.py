"""Why a call ended, and how each outcome is told to the PBX (docs/ARCHITECTURE.md, section 4)."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Final


class Result(enum.StrEnum):
    """Whose doing the end of a call was."""

    SUCCESS = "success"
    LOCAL_ERROR = "local_error"
    REMOTE_ERROR = "remote_error"
    UPSTREAM_ERROR = "upstream_error"
    INDETERMINATE = "indeterminate"


@dataclass(frozen=True, slots=True)
class Termination:
    """Why a call ended.

    Attributes:
        result: whose doing it was.
        reason: stable slug, for example ``busy`` or ``page_lost``.
        sip_status: the SIP final status that says it, where the call was not yet answered.
        q850_cause: ITU-T Q.850 cause, sent in a Reason header (RFC 3326).
        text: a sentence for people; no personal data.
        retry_after_s: seconds for a Retry-After header, where trying again makes sense.
    """

    result: Result
    reason: str
    sip_status: int | None = None
    q850_cause: int | None = None
    text: str = ""
    retry_after_s: int | None = None


HANGUP: Final = Termination(Result.SUCCESS, "hangup", q850_cause=16, text="Normal call clearing")
CANCELLED: Final = Termination(Result.SUCCESS, "cancelled", 487, 16, "The caller gave up")
ELSEWHERE: Final = Termination(Result.SUCCESS, "answered_elsewhere", 487, 26, "Call completed elsewhere")
NO_NUMBER: Final = Termination(
    Result.REMOTE_ERROR, "no_number", 484, 28, "The Request-URI holds no phone number; dial it with its country code"
)
NOT_ON_WHATSAPP: Final = Termination(Result.UPSTREAM_ERROR, "not_on_whatsapp", 404, 1, "Not on WhatsApp")
BUSY: Final = Termination(Result.UPSTREAM_ERROR, "busy", 486, 17, "Busy")
DECLINED: Final = Termination(Result.UPSTREAM_ERROR, "declined", 603, 21, "Declined")
NO_ANSWER: Final = Termination(Result.UPSTREAM_ERROR, "no_answer", 480, 19, "No answer")
UNREACHABLE: Final = Termination(Result.UPSTREAM_ERROR, "unreachable", 480, 20, "Not reachable on WhatsApp")
LINE_BUSY: Final = Termination(
    Result.LOCAL_ERROR, "line_busy", 503, 34, "The account is already in a call", retry_after_s=30
)
PAGE_UNAVAILABLE: Final = Termination(
    Result.LOCAL_ERROR, "page_unavailable", 503, 41, "WhatsApp Web is not ready", retry_after_s=10
)
PAGE_LOST: Final = Termination(Result.LOCAL_ERROR, "page_lost", 503, 41, "WhatsApp Web went away", retry_after_s=10)
PHONE_LOST: Final = Termination(
    Result.REMOTE_ERROR, "phone_lost", q850_cause=27, text="The SIP side went away without a BYE"
)
CLIENT_MEDIA_LOST: Final = Termination(
    Result.REMOTE_ERROR, "client_media_lost", q850_cause=27, text="ICE or DTLS with the WebRTC client failed"
)
MEDIA_LOST: Final = Termination(
    Result.LOCAL_ERROR, "media_lost", 503, 41, "The media plane was restarted", retry_after_s=10
)
MEDIA_FAILED: Final = Termination(Result.LOCAL_ERROR, "media_failed", 503, 41, "No audio path", retry_after_s=10)
BAD_MEDIA: Final = Termination(
    Result.REMOTE_ERROR, "no_common_codec", 488, 88, "No common codec; offer opus, G722, PCMA or PCMU"
)
INTERNAL: Final = Termination(Result.LOCAL_ERROR, "internal", 500, 41, "Internal error")
SHUTDOWN: Final = Termination(Result.LOCAL_ERROR, "shutdown", 503, 41, "Ponte is stopping", retry_after_s=30)


def hung_up(q850_cause: int | None) -> Termination:
    """Return the end of a call that the SIP side hung up.

    Args:
        q850_cause: what its Reason said; None where it said none.
    """
    return HANGUP if q850_cause is None else replace(HANGUP, q850_cause=q850_cause)


def from_sip_failure(status: int, q850_cause: int | None = None) -> Termination:
    """Return the termination for a final failure of the SIP side (RFC 3261 section 21).

    Args:
        status: SIP status, 300 to 699.
        q850_cause: what its Reason said (RFC 3326), which knows better than the status; None where it said none.
    """
    known = {
        486: ("busy", 17), 600: ("busy", 17), 603: ("declined", 21), 480: ("no_answer", 19), 408: ("no_answer", 18),
        404: ("no_such_extension", 1), 484: ("no_such_extension", 28), 487: ("cancelled", 16),
    }  # fmt: skip
    reason, cause = known.get(status, ("sip_failure", 41 if status >= 500 else 127))
    if q850_cause is not None:
        cause = q850_cause
    return Termination(Result.REMOTE_ERROR, reason, status, cause, f"The SIP side answered {status}")


REJECT_STATUSES: Final = frozenset({486, 600, 603})
"""SIP answers that a person gave; each other failure is a fault (docs/ARCHITECTURE.md, section 4)."""
