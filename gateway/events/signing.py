"""Signatures of webhooks by the Standard Webhooks scheme (standardwebhooks.com, specification 1.0)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Final

PREFIX: Final = "whsec_"
_SECRET_BYTES: Final = 32  # the scheme asks for 24 to 64


def new_secret() -> str:
    """Return a fresh secret."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def signature(keys: Sequence[str], message_id: str, timestamp_s: int, body: bytes) -> str:
    """Return the value of ``webhook-signature``: one signature a secret, so that a receiver may know either.

    Args:
        keys: secrets, with their prefix.
        message_id: ``webhook-id``.
        timestamp_s: ``webhook-timestamp``, Unix seconds.
        body: as it is sent.
    """
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    return " ".join(f"v1,{base64.b64encode(_mac(key, signed)).decode()}" for key in keys)


def verify(key: str, message_id: str, timestamp_s: int, body: bytes, header: str) -> bool:
    """Return whether one of the signatures in *header* is that of *key*; what a receiver does."""
    wanted = signature([key], message_id, timestamp_s, body)
    return any(hmac.compare_digest(one.encode(), wanted.encode()) for one in header.split(" "))


def _mac(key: str, signed: bytes) -> bytes:
    try:
        secret = base64.b64decode(key.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("a webhook secret is base64 after its prefix") from None
    return hmac.new(secret, signed, hashlib.sha256).digest()
