"""``ponte trace``: the ladder of a call, of the running gateway or of the database."""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from gateway.cli_support import STORE_SETTINGS, add_settings, settings_of, with_store
from gateway.config import Settings, client_key
from gateway.domain.errors import ConfigError, PonteError, Unavailable
from gateway.domain.ids import CallId
from gateway.domain.trace import Lane, Trace, TraceEntry, TraceKind
from gateway.ladder import ASCII, UNICODE, draw
from gateway.store.calls import CallFilter, CallRecord
from gateway.store.store import Store

if TYPE_CHECKING:
    import httpx2

_TIMEOUT_S: Final = 10.0


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    trace = commands.add_parser(
        "trace",
        help="print the ladder of a call: SIP messages, page, audio",
        description="Prints the ladder of a call. With a key in PONTE_API_KEY it asks the running gateway, which knows "
        "calls in progress too; without, it reads the database, where calls are once they are over.",
    )
    trace.add_argument("call", metavar="CALL", nargs="?", help="the call's id; left out: the latest call")
    trace.add_argument("--account", metavar="NAME", help="in the database: of this account only; default: of any")
    trace.add_argument("--url", metavar="URL", help="the gateway's API; default: PONTE_API_HOST and PONTE_API_PORT")
    trace.add_argument("--width", metavar="COLUMNS", type=int, help="default: the terminal's")
    trace.add_argument("--ascii", action="store_true", help="draw with ASCII alone")
    trace.add_argument("--json", action="store_true", help="print JSON, as GET /calls/{id}/trace gives it")
    trace.set_defaults(run=_trace)
    add_settings(trace, (*STORE_SETTINGS, "api_host", "api_port"))


def _trace(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    call_id, trace = _found(arguments, settings)
    if arguments.json:
        print(json.dumps(as_json(call_id, trace), indent=2))
        return 0
    print(f"Call {call_id}, {trace.started_at.isoformat(timespec='milliseconds')}\n")
    width = arguments.width or shutil.get_terminal_size().columns
    pen = ASCII if arguments.ascii or not _shows_unicode() else UNICODE
    print(draw(trace, width, pen))
    return 0


def _shows_unicode() -> bool:
    try:
        UNICODE.right.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _found(arguments: argparse.Namespace, settings: Settings) -> tuple[str, Trace]:
    key = client_key()
    if key is None and arguments.url is not None:
        raise ConfigError("--url wants the account's key in PONTE_API_KEY", "url")
    if key is not None:
        try:
            return _asked(arguments.url or _own_url(settings), key, arguments.call)
        except Unavailable:
            if arguments.url is not None:
                raise
    return asyncio.run(with_store(settings, lambda store: _stored(store, arguments.call, arguments.account)))


def _own_url(settings: Settings) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.api_host, settings.api_host)
    return f"http://[{host}]:{settings.api_port}" if ":" in host else f"http://{host}:{settings.api_port}"


def _asked(url: str, key: str, call: str | None) -> tuple[str, Trace]:
    """Ask the gateway.

    Raises:
        Unavailable: it does not answer.
        ConfigError: the URL or the key is wrong.
        PonteError: it has no such call.
    """
    import httpx2

    if urlsplit(url).scheme not in {"http", "https"}:
        raise ConfigError("The URL must begin with http:// or https://", "url")
    with httpx2.Client(
        base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=_TIMEOUT_S, trust_env=False
    ) as client:
        call = call or _latest(client)
        body = _get(client, f"/calls/{call}/trace")
    return str(body["call_id"]), from_json(body)


def _latest(client: httpx2.Client) -> str:
    for calls in (_get(client, "/call")["calls"], _get(client, "/calls?limit=1")["calls"]):
        if calls:
            return str(calls[0]["id"])
    raise PonteError("This account has no call yet")


def _get(client: httpx2.Client, path: str) -> Any:
    import httpx2

    try:
        answer = client.get(path)
        body = answer.json()
    except (httpx2.TransportError, httpx2.InvalidURL) as error:
        raise Unavailable(f"No gateway answers at {client.base_url}: {error}") from None
    except ValueError:
        raise Unavailable(f"What answers at {client.base_url} is no Ponte") from None
    if answer.status_code == 401:
        raise ConfigError("The gateway does not know the key in PONTE_API_KEY", "key")
    if answer.status_code != 200:
        raise PonteError(str(body.get("detail") or f"The gateway answered {answer.status_code}"))
    return body


async def _stored(store: Store, call: str | None, account: str | None) -> tuple[str, Trace]:
    """Look into the database.

    Raises:
        PonteError: there is no such call.
    """
    best: CallRecord | None = None
    for one in await store.keys.accounts():
        if account not in (None, one.name):
            continue
        if call is not None:
            found = await store.calls.get(one.id, CallId(call))
        else:
            found = next(iter(await store.calls.page(one.id, CallFilter(), limit=1)), None)
        if found is not None and (best is None or found.created_at > best.created_at):
            best = found
    if best is None:
        raise PonteError("There is no such call" if call else "There is no call yet")
    trace = await store.traces.get(best.id)
    if trace is None and best.ended_at is None:
        raise PonteError("The call is in progress: set PONTE_API_KEY to a key of its account to ask the gateway")
    return best.id, trace or Trace(best.created_at, truncated=True)


def as_json(call_id: str, trace: Trace) -> dict[str, Any]:
    """Return what ``GET /calls/{id}/trace`` gives."""
    entries = [
        {
            "at_ms": one.at_ms, "from": one.source.value, "to": one.target.value, "kind": one.kind.value,
            "text": one.text, "detail": one.detail, "leg": one.leg,
        }
        for one in trace.entries
    ]  # fmt: skip
    started_at = trace.started_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"call_id": call_id, "started_at": started_at, "truncated": trace.truncated, "entries": entries}


def from_json(body: dict[str, Any]) -> Trace:
    """Return what that body says.

    Raises:
        Unavailable: it is none.
    """
    try:
        entries = tuple(
            TraceEntry(
                int(one["at_ms"]), Lane(one["from"]), Lane(one["to"]), TraceKind(one["kind"]), _plain(one["text"]),
                _plain(one["detail"]), _plain(one["leg"]),
            )
            for one in body["entries"]
        )  # fmt: skip
        return Trace(datetime.fromisoformat(body["started_at"]), entries, bool(body["truncated"]))
    except (KeyError, TypeError, ValueError):
        raise Unavailable("The gateway's answer has an unknown form; is it of another version?") from None


def _plain(text: str) -> str:
    """A terminal obeys some characters."""
    return "".join(character if character.isprintable() else "?" for character in text)
