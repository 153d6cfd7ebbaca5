"""rtpengine's ng control protocol: bencode under a cookie, one datagram a message. No sockets, no clock."""

from gateway.protocol.ng.errors import CallUnknown, MediaServerFull, MediaServerRefused, MediaServerSilent
from gateway.protocol.ng.requests import Answered, Failed, NgRequests, NgTiming, Transmit

__all__ = [
    "Answered",
    "CallUnknown",
    "Failed",
    "MediaServerFull",
    "MediaServerRefused",
    "MediaServerSilent",
    "NgRequests",
    "NgTiming",
    "Transmit",
]
