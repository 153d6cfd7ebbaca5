"""What an rtpengine may answer but yes.

PonteError
├── Unavailable
│   ├── MediaServerFull      it is at one of its limits
│   ├── CallUnknown          it does not know the call (any more)
│   └── PeerTimeout
│       └── MediaServerSilent    it does not answer
└── Refused
    └── MediaServerRefused   it says no, and will say so again
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gateway.domain.errors import PeerTimeout, PonteError, Refused, RemoteProtocolError, Unavailable
from gateway.protocol.ng.bencode import Value


class MediaServerFull(Unavailable):
    """rtpengine is at one of its limits: sessions, load, bandwidth or ports."""

    code = "rtpengine_full"


class CallUnknown(Unavailable):
    """rtpengine does not know the call: it was restarted, or gave the call up for want of packets."""

    code = "rtpengine_call_unknown"


class MediaServerSilent(PeerTimeout):
    """rtpengine did not answer in time."""

    code = "rtpengine_silent"
    sip_status = 503


class MediaServerRefused(Refused):
    """rtpengine refused a request for a reason that does not go away."""

    code = "rtpengine_refused"


_UNKNOWN: Final = ("unknown call-id", "call-id not found")
_FULL: Final = ("ran out of ports", "limit reached", "limit exceeded", "load limit")
_MAX_REASON_CHARS: Final = 200


def error_of(answer: Mapping[str, Value]) -> PonteError | None:
    """Return what is wrong with *answer*, None where it says yes. A warning that nothing was found is an error too."""
    result = answer.get("result")
    reason = " ".join(str(answer.get("error-reason") or answer.get("message") or answer.get("warning") or "").split())
    reason = reason[:_MAX_REASON_CHARS]
    known = reason.lower()
    if not isinstance(result, str):
        return RemoteProtocolError("rtpengine gave an answer without a result")
    if result in {"ok", "pong"}:
        return CallUnknown("rtpengine does not know the call") if known.startswith(_UNKNOWN) else None
    if result == "load limit" or any(text in known for text in _FULL):
        return MediaServerFull(f"rtpengine takes no more calls: {reason or 'load limit'}")
    if result != "error":
        return RemoteProtocolError("rtpengine gave an answer without a result")
    if known.startswith(_UNKNOWN):
        return CallUnknown("rtpengine does not know the call")
    return MediaServerRefused(f"rtpengine refused: {reason or 'it did not say why'}")
