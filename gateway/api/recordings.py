"""``/calls/{id}/recording``: the sound of a call."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from gateway.api.auth import authenticate
from gateway.api.calls import call_id_of, no_such_call
from gateway.api.deps import ApiDeps
from gateway.api.problems import Problem
from gateway.domain.recording import RecordingFormat, RecordingState
from gateway.store.calls import CallRecord


class RecordingEndpoints:
    """The handlers of recordings."""

    def __init__(self, deps: ApiDeps) -> None:
        self._deps = deps

    async def get(self, request: Request) -> Response:
        """``GET /calls/{id}/recording``: the file, or a range of it."""
        record = await self._settled(request)
        recording = record.recording or {}
        path = self._deps.store.recordings.path(record.account, recording)
        if path is None:
            raise Problem(404, "recording_not_found", "The recording of this call was deleted", call_id=record.id)
        return FileResponse(
            path,
            media_type=RecordingFormat(recording["format"]).media_type,
            filename=path.name,
            headers={"Cache-Control": "no-store"},
        )

    async def delete(self, request: Request) -> Response:
        """``DELETE /calls/{id}/recording``."""
        record = await self._settled(request)
        if record.ended_at is None:
            text = "The call goes on: its recording may too"
            raise Problem(409, "recording_in_use", text, call_id=record.id, state=record.state.value)
        await self._deps.store.calls.delete_recording(record)
        return Response(status_code=204)

    async def _settled(self, request: Request) -> CallRecord:
        """Return the record of a call whose recording does not grow now."""
        account = await authenticate(request, self._deps.store.keys)
        call_id = call_id_of(request)
        record = await self._deps.store.calls.get(account, call_id)
        if record is None:
            raise no_such_call(call_id)
        if record.recording is None:
            raise Problem(404, "recording_not_found", "This call was not recorded", call_id=call_id)
        if record.recording.get("state") == RecordingState.RECORDING.value:
            text = "It is being recorded: stop it first, or wait"
            raise Problem(409, "recording_in_use", text, call_id=call_id, state=record.state.value)
        return record
