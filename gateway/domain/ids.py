"""Identifiers, as types of their own so that one is never passed for another."""

from __future__ import annotations

import secrets
from typing import NewType

CallId = NewType("CallId", str)
"""Ponte's own name of a bridged call; never the SIP Call-ID header, which is `sip_call_id`."""

AccountId = NewType("AccountId", str)
"""One WhatsApp account with its configuration and its API keys."""

PageCallId = NewType("PageCallId", str)
"""The web client's name of a call."""


def new_call_id() -> CallId:
    """Return a fresh call id: 128 random bits, so that it says nothing about the call."""
    return CallId(secrets.token_hex(16))
