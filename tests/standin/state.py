"""What ``GET /state`` says."""

from __future__ import annotations

from tests.standin.farend import MY_PHONE, FarEnd
from tests.standin.lines import Message, lid_of
from tests.standin.sound import PAGE_SOUNDS_HZ


def state_of(far_end: FarEnd) -> Message:
    """Return what ``GET /state`` says."""
    report = far_end.page.report if far_end.page else {}
    return {
        "page": {
            "connected": far_end.page is not None, "stack_ready": far_end.page is not None and far_end.page.stack_ready,
            "seen": far_end.pages_seen, "call": report.get("call"),
        },
        "ring_tone": report.get("ringtone", {"playing": False, "blocked": 0}),
        "message_sounds": report.get("messages", {"played": 0}),
        "sounds_hz": PAGE_SOUNDS_HZ,
        "settings": far_end.settings.model_dump(),
        "link": far_end.describe_link(),
        "me": {"phone": MY_PHONE, "lid": lid_of(MY_PHONE)},
        "call": far_end.call.describe() if far_end.call else None,
        "ended_calls": [call.describe() for call in far_end.history],
        "media": far_end.media.describe() if far_end.media else None,
        "saying_s": far_end.say.seconds,
        "get_user_media_calls": far_end.get_user_media_calls,
        "csp_reports": list(far_end.csp_reports),
    }  # fmt: skip
