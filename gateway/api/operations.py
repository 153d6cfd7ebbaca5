"""What the API can do: one entry an operation, from which ``/openapi.json`` is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from gateway.api import account_schemas as accounts
from gateway.api import described as d
from gateway.api import schemas as s
from gateway.api import session as sessions

Content = type[BaseModel] | str
Answers = dict[int, Content | tuple[Content, ...] | None]
"""By status: the schema, a media type of something else than JSON, several of these, or None for no body."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    Attributes:
        answers: those that are no errors.
        body: schema of the request's body; it must be there where a field of it is required.
        query: schema of the query.
        errors: statuses of its errors, beside those of every operation.
        key: whether it wants an API key.
        idempotent: whether it takes an Idempotency-Key.
        admin: whether the key has to be an admin key.
    """

    method: str
    path: str
    tag: str
    name: str
    summary: str
    answers: Answers
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    errors: tuple[int, ...] = ()
    key: bool = True
    idempotent: bool = False
    admin: bool = False


def _action(name: str, summary: str, body: type[BaseModel] = s.NoFields, answers: Answers | None = None) -> Operation:
    return Operation(
        "post", f"/call/{{id}}/{name}", "calls", f"{name}Call", summary, answers or {200: s.CallView}, body=body,
        errors=(400, 404, 409),
    )  # fmt: skip


OPERATIONS: Final = (
    Operation(
        "post", "/call/bridge/config", "bridge", "changeBridge", "Change the bridge's configuration, at once",
        {200: d.BridgeAnswer}, body=d.BridgeFields, errors=(400,),
    ),
    Operation(
        "get", "/call/bridge/config", "bridge", "getBridge", "The configuration in force, secrets masked",
        {200: d.BridgeConfigView},
    ),
    Operation(
        "get", "/call/bridge/status", "bridge", "getBridgeStatus", "The state of each part, and the calls in progress",
        {200: d.BridgeStatusView},
    ),
    Operation(
        "post", "/call/bridge/test", "bridge", "testBridge", "Try a configuration without storing it",
        {200: s.BridgeTest}, body=d.BridgeTestFields, errors=(400,),
    ),
    Operation(
        "post", "/call/offer", "calls", "offerCall", "Begin a call: ring a phone, then WhatsApp",
        {202: s.CallView}, body=s.OfferRequest, errors=(400, 409), idempotent=True,
    ),
    Operation("get", "/call", "calls", "listLiveCalls", "The calls in progress", {200: s.LiveCalls}),
    Operation(
        "get", "/call/{id}", "calls", "getLiveCall", "One call, in progress or over", {200: s.CallView}, errors=(404,)
    ),
    _action("hangup", "End a call"),
    _action("reject", "Decline a call that was not answered"),
    _action("hold", "Send silence both ways"),
    _action("resume", "End a hold"),
    _action("mute", "Send silence to the WhatsApp side, or end that", s.MuteRequest),
    _action("dtmf", "Play telephone keys to the WhatsApp side", s.DtmfRequest, {202: s.KeysTaken}),
    _action("transfer", "Move the phone's side to another extension", s.TransferRequest, {202: s.CallView}),
    _action("record", "Record the call, stop that, or go on", s.RecordRequest),
    Operation(
        "get", "/calls", "records", "listCalls", "Call records, newest first", {200: s.CallList}, query=s.CallsQuery,
        errors=(400,),
    ),
    Operation(
        "get", "/calls.csv", "records", "exportCalls", "All call records that match, as CSV", {200: "text/csv"},
        query=s.CallsFilter, errors=(400,),
    ),
    Operation(
        "get", "/calls/{id}", "records", "getCall", "One call record", {200: s.CallRecordView}, errors=(404,)
    ),
    Operation(
        "get", "/calls/{id}/trace", "records", "getTrace", "The time line of a call, in progress or over",
        {200: s.TraceView}, errors=(404,),
    ),
    Operation(
        "get", "/calls/{id}/recording", "records", "getRecording", "The sound of a call; takes Range",
        {200: "audio/ogg"}, errors=(404, 409),
    ),
    Operation(
        "delete", "/calls/{id}/recording", "records", "deleteRecording", "Delete the sound of a call; its record stays",
        {204: None}, errors=(404, 409),
    ),
    Operation(
        "post", "/calls/erase", "records", "eraseCalls", "Delete what is stored of one person", {200: s.Erased},
        body=s.EraseRequest, errors=(400, 409),
    ),
    Operation(
        "get", "/events", "events", "listEvents",
        "Events: a list; a stream where text/event-stream is accepted (it takes Last-Event-ID too), or a WebSocket",
        {200: s.EventList}, query=s.EventsQuery, errors=(400,),
    ),
    Operation("get", "/webhooks", "events", "listWebhooks", "The webhooks", {200: s.WebhookList}),
    Operation(
        "post", "/webhooks", "events", "createWebhook", "Have events sent to a URL", {201: s.WebhookSecret},
        body=s.WebhookRequest, errors=(400, 409),
    ),
    Operation(
        "get", "/webhooks/{id}", "events", "getWebhook", "One webhook", {200: s.WebhookView}, errors=(404,)
    ),
    Operation(
        "patch", "/webhooks/{id}", "events", "changeWebhook", "Change a webhook; what is left out stays",
        {200: s.WebhookView}, body=s.WebhookChange, errors=(400, 404),
    ),
    Operation(
        "delete", "/webhooks/{id}", "events", "deleteWebhook", "Delete a webhook and its log", {204: None},
        errors=(404,),
    ),
    Operation(
        "post", "/webhooks/{id}/rotate", "events", "rotateWebhook", "Take a new secret; the old one signs for a day",
        {200: s.WebhookSecret}, body=s.NoFields, errors=(400, 404),
    ),
    Operation(
        "get", "/webhooks/{id}/deliveries", "events", "listDeliveries", "What was sent, and what became of it",
        {200: s.DeliveryList}, query=s.DeliveriesQuery, errors=(400, 404),
    ),
    Operation(
        "post", "/webhooks/{id}/deliveries/{delivery}/replay", "events", "replayDelivery", "Send an event once more",
        {202: s.DeliveryView}, body=s.NoFields, errors=(400, 404),
    ),
    Operation("get", "/session", "session", "getSession", "The WhatsApp page", {200: sessions.SessionView}),
    Operation(
        "get", "/session/qr", "session", "getSessionQr", "The login's QR code, as JSON or as a picture",
        {200: (sessions.QrView, "image/png")}, query=sessions.QrQuery, errors=(400, 409, 503),
    ),
    Operation(
        "post", "/session/code", "session", "linkSession", "A code to type into the phone", {200: sessions.CodeView},
        body=sessions.CodeRequest, errors=(400, 409, 503),
    ),
    Operation(
        "post", "/session/logout", "session", "logoutSession", "Unlink the page from the phone",
        {200: sessions.SessionView}, errors=(409, 503),
    ),
    Operation(
        "post", "/session/takeover", "session", "takeOverSession", "Use WhatsApp here when another page took it",
        {200: sessions.SessionView}, errors=(409, 503),
    ),
    Operation(
        "get", "/accounts", "accounts", "listAccounts", "The accounts of this gateway", {200: accounts.AccountList},
        admin=True,
    ),
    Operation(
        "post", "/accounts", "accounts", "createAccount", "Make an account and its first key",
        {201: accounts.NewAccount}, body=accounts.AccountRequest, errors=(400, 409), admin=True,
    ),
    Operation(
        "get", "/accounts/{name}", "accounts", "getAccount", "One account and its keys",
        {200: accounts.AccountDetail}, errors=(404,), admin=True,
    ),
    Operation(
        "delete", "/accounts/{name}", "accounts", "removeAccount", "End an account and delete what is stored of it",
        {204: None}, query=accounts.RemovalQuery, errors=(400, 404, 409), admin=True,
    ),
    Operation(
        "post", "/accounts/{name}/keys", "accounts", "createAccountKey", "Make one more key of an account",
        {201: accounts.NewKey}, body=accounts.KeyRequest, errors=(400, 404, 409), admin=True,
    ),
    Operation(
        "delete", "/accounts/{name}/keys/{key}", "accounts", "revokeAccountKey", "Revoke a key of an account",
        {204: None}, errors=(404,), admin=True,
    ),
    Operation("get", "/livez", "operations", "getLive", "Whether the process lives", {200: d.Live}, key=False),
    Operation(
        "get", "/readyz", "operations", "getReady", "Whether calls can be taken", {200: d.Ready, 503: d.Ready},
        key=False,
    ),
    Operation("get", "/metrics", "operations", "getMetrics", "Prometheus metrics", {200: "text/plain"}, key=False),
)  # fmt: skip
