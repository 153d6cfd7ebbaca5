"""What goes wrong between the gateway and Chrome. Every text is one sentence that says what to do.

Unavailable
├── ChromeUnreachable   no answer at the address, or not from a Chrome
├── ChromeUnauthorized  the endpoint wants a token, or another one
├── ConnectionLost      the CDP connection closed while something was under way
├── PageGone            the page, or its document, went away while something was under way
├── PageOwned           another gateway drives the page
├── AssetError          the wasm server's files do not fit
└── HelperError         the node helper did not do what was asked
Refused
├── CdpError            Chrome refused a command
└── PageError           the page's bundle refused a command, with its code
ConfigError
└── AddressNotAllowed   the allow-list does not have the address
"""

from __future__ import annotations

from gateway.domain.errors import ConfigError, Refused, Unavailable


class ChromeUnreachable(Unavailable):
    """No Chrome answers at the configured address."""

    code = "chrome_unreachable"


class ChromeUnauthorized(Unavailable):
    """What guards Chrome's debugging port wants a token, or another one."""

    code = "chrome_unauthorized"


class ConnectionLost(Unavailable):
    """The CDP connection closed."""

    code = "cdp_closed"


class PageGone(Unavailable):
    """The page or its document went away."""

    code = "page_gone"


class PageOwned(Unavailable):
    """Another gateway, or another account of this one, drives the page."""

    code = "page_owned"


class AssetError(Unavailable):
    """The wasm server's files are missing, damaged, or of another version."""

    code = "assets_unfit"


class HelperError(Unavailable):
    """The node helper did not do what was asked.

    Args:
        message: what happened and what to do.
        status: the helper's HTTP status, where it answered.
    """

    code = "helper_failed"

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class CdpError(Refused):
    """Chrome refused a command.

    Args:
        method: the CDP method.
        cdp_code: the JSON-RPC error code.
        text: Chrome's own words.
    """

    code = "cdp_refused"

    def __init__(self, method: str, cdp_code: int, text: str) -> None:
        super().__init__(f"Chrome refused {method}: {text}")
        self.method = method
        self.cdp_code = cdp_code
        self.text = text


class PageError(Refused):
    """The page's bundle refused a command.

    Args:
        page_code: the code before the colon, for example ``not_on_whatsapp``.
        sentence: what follows it.
    """

    code = "page_refused"

    def __init__(self, page_code: str, sentence: str) -> None:
        super().__init__(f"The page refused ({page_code}): {sentence}")
        self.page_code = page_code
        self.sentence = sentence


class AddressNotAllowed(ConfigError):
    """The address is outside of what the gateway may connect to."""

    code = "address_not_allowed"
