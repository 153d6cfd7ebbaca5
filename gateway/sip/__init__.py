"""The SIP user agent: sockets and timers around gateway.protocol.sip."""
