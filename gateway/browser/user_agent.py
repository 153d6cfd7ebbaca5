"""The user agent of a Chrome that nobody looks at, without the word that says so.

WhatsApp Web turns away browsers that it does not know, and ``HeadlessChrome`` is one. The node helper starts its Chrome
with another name; of any other Chrome the page is told another one over CDP. Everything else stays true: version,
system, and the brands of the client hints, which have to fit (they are left empty by an override without them).
"""

from __future__ import annotations

import re
from typing import Final

_HEADLESS: Final = "HeadlessChrome/"
_BRAND: Final = "Chromium"
_OTHER_BRAND: Final = ("Not:A-Brand", "8", "8.0.0.0")
"""Chrome itself mixes in a brand that does not exist, so that nobody takes the list for complete."""

_SYSTEMS: Final = (
    # What the user agent says; client hint's platform, its version, and navigator.platform
    ("Windows NT", "Windows", "10.0.0", "Win32"),
    ("Mac OS X", "macOS", "14.0.0", "MacIntel"),
    ("X11; CrOS", "Chrome OS", "", "Linux x86_64"),
    ("Linux", "Linux", "", "Linux x86_64"),
)


def without_headless(user_agent: str, product: str) -> dict[str, object] | None:
    """Return the parameters of ``Emulation.setUserAgentOverride``; None for a Chrome that has an ordinary name.

    Args:
        user_agent: as ``Browser.getVersion`` gives it.
        product: likewise, for example ``Chrome/156.0.8078.79``.
    """
    if _HEADLESS not in user_agent:
        return None
    version = re.search(r"/(\d+)((?:\.\d+)*)$", product)
    if version is None:
        return None
    major, full = version[1], version[1] + version[2]
    name, platform_version, platform = next(
        (known[1:] for known in _SYSTEMS if known[0] in user_agent), ("Linux", "", "Linux x86_64")
    )
    arm = "aarch64" in user_agent or "arm" in user_agent.lower()
    if arm and name == "Linux":
        platform = "Linux aarch64"
    return {
        "userAgent": user_agent.replace(_HEADLESS, "Chrome/"),
        "platform": platform,
        "userAgentMetadata": {
            "brands": _brands(_OTHER_BRAND[1], major),
            "fullVersionList": _brands(_OTHER_BRAND[2], full),
            "fullVersion": full,
            "platform": name,
            "platformVersion": platform_version,
            "architecture": "arm" if arm else "x86",
            "bitness": "64",
            "model": "",
            "mobile": False,
            "wow64": False,
        },
    }


def _brands(other: str, version: str) -> list[dict[str, str]]:
    return [{"brand": _OTHER_BRAND[0], "version": other}, {"brand": _BRAND, "version": version}]
