"""SIP (RFC 3261) without sockets: transactions, dialogs, digest, registration."""
