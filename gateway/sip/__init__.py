"""The SIP user agent: sockets and timers around gateway.protocol.sip."""

from gateway.protocol.sip.events import (
    Answered,
    Caller,
    Cancelled,
    Ended,
    Failed,
    Info,
    Reason,
    Refer,
    ReInvite,
    Ringing,
    SipEvent,
)
from gateway.protocol.sip.registration import RegistrationState, RegistrationStatus
from gateway.protocol.sip.target import SipServer, parse_sip_server
from gateway.sip.call import CallEvent, IncomingInvite, OutgoingInvite, Replaced, SipCall
from gateway.sip.endpoint import Endpoint, ListenerStatus
from gateway.sip.port import PortInUse
from gateway.sip.settings import EndpointSettings, StackSettings
from gateway.sip.stack import SipStack

__all__ = [
    "Answered",
    "CallEvent",
    "Caller",
    "Cancelled",
    "Ended",
    "Endpoint",
    "EndpointSettings",
    "Failed",
    "IncomingInvite",
    "Info",
    "ListenerStatus",
    "OutgoingInvite",
    "PortInUse",
    "ReInvite",
    "Reason",
    "Refer",
    "RegistrationState",
    "RegistrationStatus",
    "Replaced",
    "Ringing",
    "SipCall",
    "SipEvent",
    "SipServer",
    "SipStack",
    "StackSettings",
    "parse_sip_server",
]
