"""``/call``: calls in progress, those that are asked for, and what people do to them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final, NoReturn, TypeVar

import structlog
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from gateway.api.answers import json_answer
from gateway.api.auth import authenticate, too_many
from gateway.api.body import read_json_object
from gateway.api.calls import call_id_of, no_such_call, record_view, recorded
from gateway.api.deps import ApiDeps, Control
from gateway.api.limits import Limits
from gateway.api.problems import Problem
from gateway.api.schemas import (
    CallRecordView,
    CallView,
    DtmfRequest,
    HopView,
    KeysTaken,
    LiveCalls,
    MuteRequest,
    NoFields,
    OfferRequest,
    Party,
    PathView,
    Phone,
    Recording,
    RecordRequest,
    TransferRequest,
    TransferView,
)
from gateway.api.validation import invalid, parse_body
from gateway.bridge.control import TransferState, WrongState
from gateway.domain.bridge_config import FieldFault
from gateway.domain.bridge_status import CallSummary
from gateway.domain.hops import WHY, CallPath, Reading
from gateway.domain.ids import AccountId, CallId, new_call_id
from gateway.domain.offer import CallNotPossible, Offer, parse_extension
from gateway.domain.recording import RecordingFailed, RecordingUnavailable
from gateway.events.quality import Quality
from gateway.protocol.sip.target import parse_sip_server
from gateway.protocol.sip.text import sip_uri
from gateway.store.idempotency import Remembered

M = TypeVar("M", bound=BaseModel)

_IDEMPOTENCY_KEY: Final = re.compile(r"[!-~]{1,255}")


class LiveCallEndpoints:
    """The handlers of calls in progress."""

    def __init__(self, deps: ApiDeps, limits: Limits) -> None:
        self._deps = deps
        self._limits = limits
        self._locks: dict[AccountId, asyncio.Lock] = {}  # one per account that ever asked for a call
        self._log = structlog.get_logger(__name__)

    async def list_live(self, request: Request) -> Response:
        """``GET /call``: the calls in progress."""
        account = await authenticate(request, self._deps.store.keys)
        return json_answer(LiveCalls(calls=[call_view(call) for call in self._deps.accounts.status(account).calls]))

    async def get_live(self, request: Request) -> Response:
        """``GET /call/{id}``: one call, in progress or over."""
        account = await authenticate(request, self._deps.store.keys)
        return json_answer(await self._view(account, call_id_of(request)))

    async def offer(self, request: Request) -> Response:
        """``POST /call/offer``: ring a phone, then WhatsApp."""
        deps = self._deps
        account = await authenticate(request, deps.store.keys)
        wait_s = self._limits.offers.take(account, time.monotonic())
        if wait_s:
            raise too_many("This account begins calls too fast", wait_s)
        wanted = await self._body(request, OfferRequest)
        key = request.headers.get("idempotency-key")
        if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
            raise invalid([FieldFault("Idempotency-Key", "must be 1 to 255 visible ASCII characters")])
        async with self._locks.setdefault(account, asyncio.Lock()):
            return await self._offer(account, wanted, key)

    async def _offer(self, account: AccountId, wanted: OfferRequest, key: str | None) -> Response:
        deps, call_id = self._deps, new_call_id()
        if key is not None:
            fingerprint = hashlib.sha256(json.dumps(wanted.model_dump(), sort_keys=True).encode()).hexdigest()
            known = await deps.store.idempotency.claim(account, key, Remembered(fingerprint, call_id))
            if known.request_hash != fingerprint:
                text = "This Idempotency-Key came before, with another body; take a new key for a new call"
                raise Problem(409, "idempotency_key_reused", text, call_id=known.call_id)
            if known.call_id != call_id:
                view = await self._view(account, known.call_id)
                return json_answer(view, 202, headers={**_location(known.call_id), "Idempotent-Replayed": "true"})
        try:
            call = deps.accounts.offer(account, Offer(call_id, wanted.number, wanted.extension))
        except BaseException as error:
            if key is not None:
                await deps.store.idempotency.forget(account, key)
            if isinstance(error, CallNotPossible):
                _refuse(error)
            raise
        self._log.info("call_offered", call_id=call_id)
        return json_answer(call_view(call), 202, headers=_location(call_id))

    async def hangup(self, request: Request) -> Response:
        """``POST /call/{id}/hangup``."""
        account, call_id, control = await self._control(request)
        await self._body(request, NoFields)
        with _states(call_id):
            control.hangup()
        return await self._answer(account, call_id)

    async def reject(self, request: Request) -> Response:
        """``POST /call/{id}/reject``."""
        account, call_id, control = await self._control(request)
        await self._body(request, NoFields)
        with _states(call_id):
            control.reject()
        return await self._answer(account, call_id)

    async def hold(self, request: Request) -> Response:
        """``POST /call/{id}/hold``."""
        return await self._hold(request, True)

    async def resume(self, request: Request) -> Response:
        """``POST /call/{id}/resume``."""
        return await self._hold(request, False)

    async def _hold(self, request: Request, held: bool) -> Response:
        account, call_id, control = await self._control(request)
        await self._body(request, NoFields)
        with _states(call_id):
            control.hold(held)
        return await self._answer(account, call_id)

    async def mute(self, request: Request) -> Response:
        """``POST /call/{id}/mute``."""
        account, call_id, control = await self._control(request)
        wanted = await self._body(request, MuteRequest)
        with _states(call_id):
            control.mute(wanted.muted)
        return await self._answer(account, call_id)

    async def dtmf(self, request: Request) -> Response:
        """``POST /call/{id}/dtmf``."""
        _, call_id, control = await self._control(request)
        wanted = await self._body(request, DtmfRequest)
        with _states(call_id):
            taken = control.dtmf(wanted.digits.upper(), wanted.duration_ms)
        return json_answer(KeysTaken(taken=taken), 202)

    async def transfer(self, request: Request) -> Response:
        """``POST /call/{id}/transfer``."""
        account, call_id, control = await self._control(request)
        wanted = await self._body(request, TransferRequest)
        config = await self._deps.store.configs.load(account)
        server = (config.sip_server if config else None) or ""
        extension = parse_extension(wanted.extension, server)
        with _states(call_id):
            control.transfer(extension, sip_uri(extension, parse_sip_server(server).domain))
        return await self._answer(account, call_id, 202)

    async def record(self, request: Request) -> Response:
        """``POST /call/{id}/record``: begin, stop and go on."""
        account, call_id, control = await self._control(request)
        wanted = await self._body(request, RecordRequest)
        with _states(call_id):
            try:
                await control.record(wanted.recording)
            except (RecordingUnavailable, RecordingFailed) as error:
                state = (await self._view(account, call_id)).state.value
                raise Problem(409, error.code, str(error), call_id=call_id, state=state) from None
        return await self._answer(account, call_id)

    async def _control(self, request: Request) -> tuple[AccountId, CallId, Control]:
        account = await authenticate(request, self._deps.store.keys)
        call_id = call_id_of(request)
        control = self._deps.accounts.control(account, call_id)
        if control is None:
            record = await recorded(self._deps.store, account, call_id)
            if record is None:
                raise no_such_call(call_id)
            raise Problem(409, "wrong_state", "The call is over", call_id=call_id, state=record.state.value)
        return account, call_id, control

    async def _view(self, account: AccountId, call_id: CallId) -> CallView:
        for call in self._deps.accounts.status(account).calls:
            if call.id == call_id:
                return call_view(call)
        record = await recorded(self._deps.store, account, call_id)
        if record is None:
            raise no_such_call(call_id)
        return _ended_view(record_view(record))

    async def _answer(self, account: AccountId, call_id: CallId, status: int = 200) -> Response:
        return json_answer(await self._view(account, call_id), status)

    async def _body(self, request: Request, model: type[M]) -> M:
        deps = self._deps
        required = any(field.is_required() for field in model.model_fields.values())
        data = await read_json_object(
            request, limit_bytes=deps.body_limit_bytes, timeout_s=deps.body_timeout_s, optional=not required
        )
        return parse_body(model, data)


class _states:
    """Turns a wrong state into its answer."""

    def __init__(self, call_id: CallId) -> None:
        self._call_id = call_id

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, WrongState):
            raise Problem(409, error.code, str(error), call_id=self._call_id, state=error.state.value) from None


def _path_view(path: CallPath) -> PathView:
    def shown(way: Sequence[Reading]) -> list[HopView]:
        return [HopView(**asdict(one), silent=one.silent) for one in way]

    return PathView(
        wa_to_sip=shown(path.wa_to_sip),
        sip_to_wa=shown(path.sip_to_wa),
        broken=path.broken,
        why=[WHY[hop] for hop in path.broken],
    )


def call_view(call: CallSummary) -> CallView:
    """Return a call in progress as the API shows it."""
    return CallView(
        id=call.id,
        direction=call.direction,
        origin=call.origin,
        state=call.state,
        whatsapp=Party(number=call.peer or None, name=call.peer_name),
        sip=Phone(user=call.sip_user, name=call.sip_name),
        created_at=call.created_at,
        ringing_at=call.ringing_at,
        answered_at=call.answered_at,
        ended_at=None,
        held=call.held,
        muted=call.muted,
        transfer=TransferView(extension=call.transfer[0], state=TransferState(call.transfer[1]))
        if call.transfer
        else None,
        quality=Quality.model_validate(call.quality) if call.quality is not None else None,
        path=_path_view(call.path) if call.path is not None else None,
        recording=Recording.model_validate(call.recording) if call.recording is not None else None,
        ending=None,
    )


def _ended_view(record: CallRecordView) -> CallView:
    fields = {name: getattr(record, name) for name in CallView.model_fields if hasattr(record, name)}
    return CallView(**fields, held=False, muted=False, transfer=None, path=None)


def _location(call_id: CallId) -> dict[str, str]:
    return {"Location": f"/call/{call_id}"}


def _refuse(error: CallNotPossible) -> NoReturn:
    headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s is not None else None
    raise Problem(409, error.reason, str(error), headers=headers, state=error.state) from None
