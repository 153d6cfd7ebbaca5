"""The remote control: plain HTTP on loopback, by which a test is the person at the other phone."""

from __future__ import annotations

import json
import time
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.standin.farend import FarEnd
from tests.standin.lines import NotNow
from tests.standin.schemas import CodeRequest, PhoneRequest, RejectRequest, RingRequest, SayRequest, Settings
from tests.standin.sound import BadSound, read_wav, tone, wav_bytes
from tests.standin.state import state_of
from tests.standin.tape import MAX_HEARD_S

MAX_WAV_S: Final = 300
MAX_BODY_BYTES: Final = 64 * 1024 * 1024  # 300 s of 48 kHz stereo are 58 MB
MAX_JSON_BYTES: Final = 64 * 1024


Model = TypeVar("Model", bound=BaseModel)


class BadRequest(Exception):
    """What was sent makes no sense; the message is a sentence for the caller."""


def control_app(far_end: FarEnd) -> Starlette:
    """Return the ASGI application of the remote control."""

    async def ring(request: Request) -> Response:
        return JSONResponse({"id": far_end.ring(await _parse(request, RingRequest)).id})

    async def answer(_request: Request) -> Response:
        return JSONResponse(far_end.answer().describe())

    async def reject(request: Request) -> Response:
        return JSONResponse(far_end.reject((await _parse(request, RejectRequest)).reason).describe())

    async def hangup(_request: Request) -> Response:
        return JSONResponse(far_end.hang_up().describe())

    async def elsewhere(_request: Request) -> Response:
        return JSONResponse(far_end.elsewhere().describe())

    async def scan(request: Request) -> Response:
        far_end.scan((await _parse(request, CodeRequest)).code)
        return JSONResponse(far_end.describe_link())

    async def type_code(request: Request) -> Response:
        far_end.type_code((await _parse(request, CodeRequest)).code)
        return JSONResponse(far_end.describe_link())

    async def unlink(_request: Request) -> Response:
        far_end.unlink()
        return JSONResponse(far_end.describe_link())

    async def displace(_request: Request) -> Response:
        far_end.displace()
        return JSONResponse(far_end.describe_link())

    async def phone(request: Request) -> Response:
        far_end.linking.phone_online = (await _parse(request, PhoneRequest)).online
        return JSONResponse(far_end.describe_link())

    async def say(request: Request) -> Response:
        body = await _body(request, MAX_BODY_BYTES)
        if body[:4] == b"RIFF" or "wav" in request.headers.get("content-type", ""):
            # In a thread: resampling a long file would hold up the far end's speech.
            samples = await run_in_threadpool(read_wav, body, max_seconds=MAX_WAV_S)
        else:
            wanted = _validate(body, SayRequest)
            samples = tone([wanted.tone_hz], wanted.seconds, wanted.level_dbfs)
        if not far_end.say.put(samples):
            raise BadRequest("The far end has ten minutes to say already.")
        return JSONResponse({"seconds": len(samples) / 16_000, "queued_s": far_end.say.seconds})

    async def heard(request: Request) -> Response:
        text = request.query_params.get("seconds", "10")
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1
        if not 0 < seconds <= MAX_HEARD_S:
            raise BadRequest(f"seconds must be a number above 0 and at most {MAX_HEARD_S}.")
        samples = far_end.heard.last(seconds, time.monotonic())
        return Response(wav_bytes(samples), media_type="audio/wav")

    async def state(_request: Request) -> Response:
        return JSONResponse(state_of(far_end))

    async def marks(request: Request) -> Response:
        answer = {name: list(entries) for name, entries in far_end.marks.items()}
        if request.method == "DELETE":
            for entries in far_end.marks.values():
                entries.clear()
        return JSONResponse(answer)

    async def clock(_request: Request) -> Response:
        return JSONResponse(await far_end.clock())

    async def settings(request: Request) -> Response:
        if request.method == "POST":
            body = await _body(request, MAX_JSON_BYTES)
            changes = _object(body)
            merged = json.dumps(far_end.settings.model_dump() | changes).encode()
            far_end.change_settings(_validate(merged, Settings))
        return JSONResponse(far_end.settings.model_dump())

    async def bad_request(_request: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, status_code=400)

    async def not_now(_request: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, status_code=409)

    return Starlette(
        routes=[
            Route("/ring", ring, methods=["POST"]),
            Route("/answer", answer, methods=["POST"]),
            Route("/reject", reject, methods=["POST"]),
            Route("/hangup", hangup, methods=["POST"]),
            Route("/elsewhere", elsewhere, methods=["POST"]),
            Route("/scan", scan, methods=["POST"]),
            Route("/type_code", type_code, methods=["POST"]),
            Route("/unlink", unlink, methods=["POST"]),
            Route("/displace", displace, methods=["POST"]),
            Route("/phone", phone, methods=["POST"]),
            Route("/say", say, methods=["POST"]),
            Route("/heard.wav", heard),
            Route("/state", state),
            Route("/marks", marks, methods=["GET", "DELETE"]),
            Route("/clock", clock),
            Route("/settings", settings, methods=["GET", "POST"]),
        ],
        exception_handlers={BadRequest: bad_request, BadSound: bad_request, NotNow: not_now},
    )


async def _body(request: Request, limit_bytes: int) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit_bytes:
            raise BadRequest(f"The body is larger than {limit_bytes} bytes.")
    return bytes(body)


def _object(body: bytes) -> dict[str, object]:
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        raise BadRequest("The body is not JSON.") from None
    if not isinstance(value, dict):
        raise BadRequest("The body must be a JSON object.")
    return value


def _validate(body: bytes, model: type[Model]) -> Model:
    _object(body)
    try:
        return model.model_validate_json(body or b"{}")
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}" for fault in error.errors())
        raise BadRequest(f"{'; '.join(faults)}.") from None


async def _parse(request: Request, model: type[Model]) -> Model:
    return _validate(await _body(request, MAX_JSON_BYTES), model)
