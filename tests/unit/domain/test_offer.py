"""Why a call that the API asks for is not possible."""

from __future__ import annotations

import pytest

from gateway.domain.bridge_status import PartStatus
from gateway.domain.offer import page_unavailable

pytestmark = pytest.mark.unit

_READY = PartStatus("READY")


@pytest.mark.parametrize(
    ("page", "media", "state", "text"),
    [
        (PartStatus("LOGIN_REQUIRED", "Scan the code"), PartStatus("closed"), "LOGIN_REQUIRED",
         "WhatsApp Web is not ready: Scan the code"),
        (PartStatus("LOADING"), PartStatus("closed", "waits for the page"), "LOADING", "WhatsApp Web is not ready"),
        (_READY, PartStatus("connecting"), "connecting", "The audio to WhatsApp Web is not up"),
        (_READY, PartStatus("failed", "UDP does not pass"), "failed",
         "The audio to WhatsApp Web is not up: UDP does not pass"),
    ],
)  # fmt: skip
def test_the_part_that_is_missing_is_named(page: PartStatus, media: PartStatus, state: str, text: str) -> None:
    error = page_unavailable(page, media)
    assert (error.reason, error.state, str(error), error.retry_after_s) == ("page_unavailable", state, text, 10)
