"""The Chrome profiles of accounts whose Chrome runs beside the gateway. A profile holds the WhatsApp session."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import structlog

from gateway.domain.ids import AccountId


def profile_folder(state_dir: Path, account: AccountId) -> Path:
    """Return the folder of the account's profile."""
    return state_dir / "chrome" / account


def in_use(profile: Path) -> bool:
    """Whether a Chrome has the profile open, or left it so when it was killed."""
    return os.path.lexists(profile / "SingletonLock")


def delete_profile(profile: Path) -> bool:
    """Delete a profile; blocks. Returns whether nothing is left of it."""
    shutil.rmtree(profile, ignore_errors=True)
    gone = not profile.exists()
    if not gone:
        structlog.get_logger(__name__).error("chrome_profile_not_deleted", folder=str(profile))
    return gone
