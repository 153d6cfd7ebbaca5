"""A call that somebody asks for through the API: a phone is rung, then a WhatsApp number dialled."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from gateway.domain.bridge_status import PartStatus
from gateway.domain.errors import ConfigError, PonteError
from gateway.domain.hosts import parse_sip_server
from gateway.domain.ids import CallId
from gateway.domain.states import PageState

_USER: Final = r"[A-Za-z0-9\-_.!~*'()&=+$,/#]{1,64}"  # RFC 3261 section 25.1 "user", less ";" and "?", plus "#"
EXTENSION_PATTERN: Final = rf"^(?:{_USER}|sips?:{_USER}@[A-Za-z0-9\-.\[\]:]{{1,255}})$"
_URI: Final = re.compile(rf"(sips?):({_USER})@([A-Za-z0-9\-.\[\]:]{{1,255}})")


def parse_extension(text: str, sip_server: str | None) -> str:
    """Return the extension that *text* is, or that a SIP address at the host of *sip_server* names.

    Every call goes through that server: an address elsewhere would not be called.

    Raises:
        ConfigError: it is another host's, with ``field`` extension.
    """
    found = _URI.fullmatch(text)
    if found is None:
        return text
    _, user, host = found.groups()
    try:
        here = parse_sip_server(sip_server or "").host.lower().rstrip(".")
        there = parse_sip_server(host).host.lower().rstrip(".")
    except ValueError:
        here, there = "", "?"
    if here != there:
        raise ConfigError("must be an extension, or a SIP address at the host of sipServer", "extension")
    return user


@dataclass(frozen=True, slots=True)
class Offer:
    """A call that is asked for.

    Attributes:
        call_id: the id that it will have.
        number: digits of the WhatsApp number.
        extension: who answers: an extension or a SIP address; None for the configuration's sipExtension.
    """

    call_id: CallId
    number: str
    extension: str | None


class CallNotPossible(PonteError):
    """No call can be made now.

    Attributes:
        reason: stable slug.
        state: of the part that is to blame.
        retry_after_s: when it may be possible; None where somebody must do something first.
    """

    code = "call_not_possible"
    http_status = 409

    def __init__(self, reason: str, message: str, state: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.state = state
        self.retry_after_s = retry_after_s


def page_unavailable(page: PartStatus, media: PartStatus) -> CallNotPossible:
    """Tell which part of the path to WhatsApp is missing: the page, or the audio of a page that is READY.

    Args:
        page: the page's state.
        media: the state of the audio between page and gateway.
    """
    part, what = page, "WhatsApp Web is not ready"
    if page.state == PageState.READY:
        part, what = media, "The audio to WhatsApp Web is not up"
    return CallNotPossible("page_unavailable", f"{what}: {part.detail}" if part.detail else what, part.state, 10)
