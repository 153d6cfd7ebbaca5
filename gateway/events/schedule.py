"""When a delivery that failed is tried again. No clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

FIRST_S: Final = 5.0
CAP_S: Final = 300.0  # an endpoint that is back gets what it missed within five minutes
GIVE_UP: Final = timedelta(days=3)  # over a weekend
_JITTER: Final = 0.2


def pause_s(failures: int, jitter: float) -> float:
    """Return how long to wait after *failures* tries in a row that failed.

    Args:
        failures: at least 1.
        jitter: from 0 to 1: spreads the pauses, so that many do not come at once.
    """
    return float(min(FIRST_S * 2.0 ** min(failures - 1, 16), CAP_S) * (1 + _JITTER * jitter))


def too_old(created_at: datetime, next_try_at: datetime) -> bool:
    """Whether a delivery is given up instead of being tried at *next_try_at*."""
    return next_try_at - created_at > GIVE_UP
