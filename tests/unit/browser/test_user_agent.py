"""A headless Chrome is told by another name, and its client hints say the same."""

import pytest

from gateway.browser.user_agent import without_headless

pytestmark = pytest.mark.unit

LINUX = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/156.0.0.0 Safari/537.36"


def test_the_word_goes_and_the_version_stays() -> None:
    told = without_headless(LINUX, "Chrome/156.0.8078.79")
    assert told is not None
    assert told["userAgent"] == LINUX.replace("HeadlessChrome", "Chrome")
    assert told["platform"] == "Linux x86_64"
    hints = told["userAgentMetadata"]
    assert isinstance(hints, dict)
    assert hints["brands"][1] == {"brand": "Chromium", "version": "156"}
    assert hints["fullVersionList"][1] == {"brand": "Chromium", "version": "156.0.8078.79"}
    assert (hints["platform"], hints["architecture"], hints["bitness"], hints["mobile"]) == (
        "Linux",
        "x86",
        "64",
        False,
    )


@pytest.mark.parametrize(
    ("system", "platform", "hint"),
    [
        ("Windows NT 10.0; Win64; x64", "Win32", "Windows"),
        ("Macintosh; Intel Mac OS X 10_15_7", "MacIntel", "macOS"),
        ("X11; Linux aarch64", "Linux aarch64", "Linux"),
        ("something new", "Linux x86_64", "Linux"),
    ],
)
def test_the_system_is_the_same_in_both(system: str, platform: str, hint: str) -> None:
    told = without_headless(LINUX.replace("X11; Linux x86_64", system), "HeadlessChrome/156.0.1.2")
    assert told is not None
    assert told["platform"] == platform
    assert isinstance(told["userAgentMetadata"], dict)
    assert told["userAgentMetadata"]["platform"] == hint


@pytest.mark.parametrize(
    ("user_agent", "product"),
    [(LINUX.replace("Headless", ""), "Chrome/156.0.8078.79"), (LINUX, "Chrome"), ("", "")],
    ids=["ordinary", "no version", "nothing"],
)
def test_what_needs_no_other_name_keeps_its_own(user_agent: str, product: str) -> None:
    assert without_headless(user_agent, product) is None
