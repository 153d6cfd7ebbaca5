"""An account's WhatsApp session as it is told outside: where its page is, which build it runs, how to link it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from gateway.domain.states import PageState


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that calls or linking need of the page.

    Attributes:
        name: as wa-js or the browser calls it.
        found: whether it is there.
        use: ``all``, ``incoming``, ``outgoing``, ``pairing`` or ``names``.
    """

    name: str
    found: bool
    use: str


@dataclass(frozen=True, slots=True)
class SeenBuild:
    """A build of WhatsApp Web.

    Attributes:
        version: WhatsApp's own word for it.
        at: when it was seen to work, or was tried; aware, UTC.
        login_lacks: what its page lacked while nobody was logged in, to compare the next build's with.
    """

    version: str
    at: datetime
    login_lacks: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class TriedBuild:
    """A newer build that was tried in a page of its own.

    Attributes:
        version: WhatsApp's own word for it.
        at: when; aware, UTC.
        lacks: what it lacks that the running one has; empty: it works, and the page is loaded anew when no call runs.
    """

    version: str
    at: datetime
    lacks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """Where the session is.

    Attributes:
        state: the page's state.
        detail: one sentence for people: why, what still works, what to do; empty where there is nothing to say.
        since: since when it is in that state; aware, UTC.
        number: digits of the account's own number, once the page told it. Personal data.
        takes_calls: whether WhatsApp calls can be taken now.
        places_calls: whether calls to WhatsApp can be placed now.
        whatsapp: WhatsApp Web's version; None while unknown.
        wajs: wa-js's version; None while unknown.
        needs: what was looked for in the page.
        worked: the build that was last seen READY.
        tried: the newer build that was tried last.
    """

    state: PageState
    detail: str
    since: datetime
    number: str | None = None
    takes_calls: bool = False
    places_calls: bool = False
    whatsapp: str | None = None
    wajs: str | None = None
    needs: tuple[Need, ...] = field(default=())
    worked: SeenBuild | None = None
    tried: TriedBuild | None = None


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """Something that happened to the session."""


@dataclass(frozen=True, slots=True)
class PageStateChanged(SessionEvent):
    """``page.state``: state or detail changed."""

    status: SessionStatus


@dataclass(frozen=True, slots=True)
class QrChanged(SessionEvent):
    """``session.qr``: the QR code changed; None: there is none any more. A secret while it is good."""

    code: str | None


@dataclass(frozen=True, slots=True)
class LinkCodeChanged(SessionEvent):
    """``session.code``: WhatsApp made another code for the number that was asked for. A secret while it is good."""

    code: str


def worse(lacks: frozenset[str], before: frozenset[str]) -> tuple[str, ...]:
    """Return what a build lacks that the one before it had, in a stable order.

    Args:
        lacks: what its page lacked while nobody was logged in.
        before: likewise for the build that works.
    """
    return tuple(sorted(lacks - before))
