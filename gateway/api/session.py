"""``/session``: an account's WhatsApp Web session: its state, linking it to a phone, unlinking it."""

from __future__ import annotations

import asyncio
import io
from typing import Annotated, Final, Literal

import segno
import structlog
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.answers import json_answer
from gateway.api.auth import authenticate
from gateway.api.body import read_json_object
from gateway.api.deps import ApiDeps, Session
from gateway.api.problems import Problem
from gateway.api.schemas import Answer, Number
from gateway.api.schemas import Request as Body
from gateway.api.validation import parse_body, parse_query
from gateway.domain.ids import AccountId
from gateway.domain.page_session import SeenBuild, SessionStatus, TriedBuild
from gateway.domain.states import PageState
from gateway.events.models import Instant

_QR_WAIT_S: Final = 5.0
_QR_LOOK_S: Final = 0.25
_PIXELS: Final = 8  # of a module: a code of WhatsApp's is about 65 modules wide, which makes some 580 pixels


class NeedView(Answer):
    """One thing that calls or linking need of the page."""

    name: str
    found: bool
    use: str = Field(description="`all`, `incoming`, `outgoing`: calls that need it; `pairing`; `names`")


class BuildView(Answer):
    """A build of WhatsApp Web."""

    version: str
    at: Instant
    lacks: list[str] = Field(default=[], description="What a build that was tried has not, and the running one has")


class SessionView(Answer):
    """``GET /session``."""

    state: PageState
    detail: str = Field(description="Why, what still works and what to do; empty where there is nothing to say")
    since: Instant
    number: str | None = Field(description="The account's own number, digits only")
    takes_calls: bool
    places_calls: bool
    whatsapp_version: str | None
    wajs_version: str | None
    worked_last: BuildView | None = Field(description="The build of WhatsApp Web that was last seen READY")
    tried_last: BuildView | None = Field(description="The newer build that was tried last, in a page of its own")
    missing: list[str] = Field(description="Names of what calls need and the page has not")
    needs: list[NeedView]


class QrView(Answer):
    """``GET /session/qr`` as JSON."""

    code: str = Field(description="The text of the QR code; whoever scans it links the page to his phone")


class QrQuery(Body):
    """The query of ``GET /session/qr``."""

    format: Literal["png", "json"] | None = None


class CodeRequest(Body):
    """``POST /session/code``."""

    phone: Number


class CodeView(Answer):
    """What a person types into the phone."""

    code: Annotated[str, Field(examples=["ABCD-1234"])]


class SessionEndpoints:
    """The handlers.

    Args:
        deps: what the API is made of.
    """

    def __init__(self, deps: ApiDeps) -> None:
        self._deps = deps
        self._log = structlog.get_logger(__name__)

    async def get_session(self, request: Request) -> Response:
        """``GET /session``: the page's state, and what was found in it."""
        return json_answer(view(self._session(await self._account(request)).status))

    async def get_qr(self, request: Request) -> Response:
        """``GET /session/qr``: the code to scan, as a picture or as text."""
        account = await self._account(request)
        query = parse_query(QrQuery, request)
        code = await _wait_for_code(self._session(account))
        as_png = query.format == "png" if query.format is not None else _wants_picture(request)
        if not as_png:
            return json_answer(QrView(code=code))
        picture = await asyncio.to_thread(_picture, code)
        return Response(picture, media_type="image/png", headers={"Cache-Control": "no-store"})

    async def post_code(self, request: Request) -> Response:
        """``POST /session/code``: link by the phone's number, without a camera."""
        deps = self._deps
        account = await self._account(request)
        data = await read_json_object(request, limit_bytes=deps.body_limit_bytes, timeout_s=deps.body_timeout_s)
        wanted = parse_body(CodeRequest, data)
        return json_answer(CodeView(code=await self._session(account).link_code(wanted.phone)))

    async def post_logout(self, request: Request) -> Response:
        """``POST /session/logout``: unlink the page from the phone."""
        session = self._session(await self._account(request))
        await session.logout()
        self._log.info("session_logged_out")
        return json_answer(view(session.status))

    async def post_takeover(self, request: Request) -> Response:
        """``POST /session/takeover``: use WhatsApp in this page, when another one took it."""
        session = self._session(await self._account(request))
        await session.takeover()
        return json_answer(view(session.status))

    async def _account(self, request: Request) -> AccountId:
        return await authenticate(request, self._deps.store.keys)

    def _session(self, account: AccountId) -> Session:
        return self._deps.accounts.session(account)


def view(status: SessionStatus) -> SessionView:
    """Return a session's status as the API shows it."""
    needed = {"all", "incoming", "outgoing"}
    return SessionView(
        state=status.state,
        detail=status.detail,
        since=status.since,
        number=status.number,
        takes_calls=status.takes_calls,
        places_calls=status.places_calls,
        whatsapp_version=status.whatsapp,
        wajs_version=status.wajs,
        worked_last=_build(status.worked),
        tried_last=_build(status.tried),
        missing=[need.name for need in status.needs if not need.found and need.use in needed],
        needs=[NeedView(name=need.name, found=need.found, use=need.use) for need in status.needs],
    )


def _build(build: SeenBuild | TriedBuild | None) -> BuildView | None:
    if build is None:
        return None
    lacks = list(build.lacks) if isinstance(build, TriedBuild) else []
    return BuildView(version=build.version, at=build.at, lacks=lacks)


async def _wait_for_code(session: Session) -> str:
    """Return the code; WhatsApp makes one within a second or two of showing its login."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _QR_WAIT_S
    while (code := await session.current_qr()) is None:
        if loop.time() > deadline:
            raise Problem(503, "qr_not_ready", "WhatsApp shows no QR code yet; ask again", headers={"Retry-After": "2"})
        await asyncio.sleep(_QR_LOOK_S)
    return code


def _wants_picture(request: Request) -> bool:
    """Whether the client takes a picture rather than JSON: a browser's address line and ``<img>`` do."""
    accept = request.headers.get("accept", "").lower()
    return "application/json" not in accept and "image/" in accept


def _picture(code: str) -> bytes:
    buffer = io.BytesIO()
    # The lowest level of correction: a screen does not get dirty, and larger modules are easier to scan.
    segno.make_qr(code, error="l", boost_error=False).save(buffer, kind="png", scale=_PIXELS, border=4)
    return buffer.getvalue()
