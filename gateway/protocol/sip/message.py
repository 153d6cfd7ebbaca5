"""SIP messages: read from bytes once, built, and written. The containers are sipmessage's."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from sipmessage import URI, Headers, Request, Response
from sipmessage.message import COMPACT_FORMS

from gateway.domain.errors import RemoteProtocolError
from gateway.protocol.sip.flow import Flow, bracketed, default_port
from gateway.protocol.sip.text import (
    NameAddr,
    Via,
    WireUri,
    clean,
    is_token,
    parse_broken_via,
    parse_int,
    parse_name_addr,
    parse_uri,
    parse_via,
    split_list,
)

MAX_HEADER_LINES: Final = 256  # real messages have some 30; lookups are linear
MAX_HEADER_BYTES: Final = 16_384  # real ones stay below 4 kB; bounds what one datagram costs to read
SDP: Final = "application/sdp"
_BAD_CHARACTERS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_QUOTED_PAIR: Final = re.compile(r"\\[^\r\n]")  # RFC 3261 section 25.1: anything but line ends

PHRASES: Final[dict[int, str]] = {
    100: "Trying", 180: "Ringing", 181: "Call Is Being Forwarded", 182: "Queued", 183: "Session Progress", 200: "OK",
    202: "Accepted",
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    406: "Not Acceptable", 407: "Proxy Authentication Required", 408: "Request Timeout",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type", 416: "Unsupported URI Scheme", 420: "Bad Extension", 421: "Extension Required",
    422: "Session Interval Too Small", 423: "Interval Too Brief", 439: "First Hop Lacks Outbound Support",
    480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist", 482: "Loop Detected", 483: "Too Many Hops",
    484: "Address Incomplete", 486: "Busy Here", 487: "Request Terminated", 488: "Not Acceptable Here",
    489: "Bad Event",
    491: "Request Pending", 500: "Server Internal Error", 501: "Not Implemented", 503: "Service Unavailable",
    504: "Server Time-out", 505: "Version Not Supported", 513: "Message Too Large", 600: "Busy Everywhere",
    603: "Decline", 604: "Does Not Exist Anywhere", 606: "Not Acceptable",
}  # fmt: skip


class AnswerableError(RemoteProtocolError):
    """A malformed request whose Via, From, To, Call-ID and CSeq are whole enough to answer it.

    Attributes:
        headers: the request's headers.
        via: its topmost Via.
    """

    def __init__(self, message: str, status: int, headers: Headers, via: Via) -> None:
        super().__init__(message, status)
        self.headers = headers
        self.via = via


M = TypeVar("M", Request, Response)


@dataclass(frozen=True, slots=True)
class _Common:
    headers: Headers
    body: bytes
    via: Via
    call_id: str
    cseq: int
    method: str
    from_: NameAddr
    to: NameAddr

    def header(self, name: str) -> str | None:
        """Return the first value of a header."""
        return self.headers.get(name)

    def list_header(self, name: str) -> list[str]:
        """Return the values of a comma-separated header, stripped."""
        return [item.strip() for value in self.headers.getlist(name) for item in split_list(value, ",") if item.strip()]

    @property
    def sdp(self) -> str | None:
        """The session description in the body, also when it is one part of a multipart body; else None."""
        return find_sdp(self.headers.get("Content-Type") or "", self.body)


@dataclass(frozen=True, slots=True)
class IncomingRequest(_Common):
    """A request as received, its mandatory headers read."""

    uri: WireUri


@dataclass(frozen=True, slots=True)
class IncomingResponse(_Common):
    """A response as received, its mandatory headers read."""

    status: int
    phrase: str


def parse_message(data: bytes) -> IncomingRequest | IncomingResponse:
    """Read one message.

    Args:
        data: a datagram, or one message cut from a stream.

    Raises:
        AnswerableError: a malformed request that can be answered with ``status``.
        RemoteProtocolError: anything else that is not a message; drop it.
    """
    head, separator, body = data.lstrip(b"\r\n").partition(b"\r\n\r\n")
    if not separator:
        raise RemoteProtocolError("the message has no end of headers")
    if len(head) > MAX_HEADER_BYTES:
        raise RemoteProtocolError("the headers are too long", 513)
    first, *lines = _unfold(head.decode("utf-8", "surrogateescape").split("\r\n"))
    if len(lines) > MAX_HEADER_LINES:
        raise RemoteProtocolError("the message has too many headers")
    headers, fault = _read_headers(lines)
    vias = headers.getlist("Via")
    if not vias:
        raise RemoteProtocolError("the message has no Via")
    try:
        first_vias = split_list(vias[0], ",")
        via = parse_via(first_vias[0])
        if len(first_vias) > 1:
            headers.setlist("Via", [text.strip() for text in first_vias] + vias[1:])
    except RemoteProtocolError as error:
        via = parse_broken_via(vias[0])
        fault = str(error)
    try:
        if fault:
            raise RemoteProtocolError(fault)
        body = _cut_body(headers, body)
        version, _, rest = first.partition(" ")
        if version.upper() == "SIP/2.0":
            return _response(rest, headers, body, via)
        return _request(first, headers, body, via)
    except RemoteProtocolError as error:
        if _can_answer(first, headers):
            raise AnswerableError(str(error), error.status, headers, via) from error
        raise


def _unfold(lines: list[str]) -> list[str]:
    if not any(line[:1] in {" ", "\t"} for line in lines):
        return lines
    unfolded: list[str] = []
    for line in lines:
        if line[:1] in {" ", "\t"} and unfolded:
            unfolded[-1] += " " + line.strip()
        else:
            unfolded.append(line)
    return unfolded


def _read_headers(lines: Iterable[str]) -> tuple[Headers, str]:
    headers = Headers()
    fault = ""
    for line in lines:
        if _BAD_CHARACTERS.search(line) and _BAD_CHARACTERS.search(_QUOTED_PAIR.sub("", line)):
            # may not be echoed in an answer: a lone line feed would start a new header there
            raise RemoteProtocolError("a header holds control characters")
        name, colon, value = line.partition(":")
        name = _header_name(name)
        if not colon or not name:
            fault = "a header line is malformed"
            continue
        headers.add(name, value.strip())
    return headers, fault


@functools.lru_cache(maxsize=256)
def _header_name(text: str) -> str:
    """Return the name of a header in its long form; empty where it is none."""
    name = text.strip()
    return COMPACT_FORMS.get(name.lower(), name) if is_token(name) else ""


def _can_answer(first: str, headers: Headers) -> bool:
    """Return whether a malformed message is a request that its sender could know again in our answer."""
    method = first.partition(" ")[0]
    return is_token(method) and method != "ACK" and " SIP/" in first and bool(headers.get("CSeq"))


def _cut_body(headers: Headers, body: bytes) -> bytes:
    lengths = headers.getlist("Content-Length")
    if not lengths:
        return body
    if len(set(lengths)) > 1:
        raise RemoteProtocolError("Content-Length contradicts itself")
    length = parse_int(lengths[0], "Content-Length")
    if length > len(body):
        raise RemoteProtocolError("the body is shorter than its Content-Length")
    return body[:length]  # RFC 3261 section 18.3: what follows in a datagram is discarded


def _single(headers: Headers, name: str) -> str:
    values = headers.getlist(name)
    if len(values) != 1 or not values[0]:
        raise RemoteProtocolError(f"{name} is missing, empty or repeated")
    return values[0]


def _common(headers: Headers) -> tuple[str, int, str, NameAddr, NameAddr]:
    number, _, method = _single(headers, "CSeq").replace("\t", " ").partition(" ")
    method = method.strip()
    if not is_token(method):
        raise RemoteProtocolError("CSeq holds no method")
    cseq = parse_int(number, "CSeq", 2**31 - 1)  # RFC 3261 section 8.1.1.5
    from_ = parse_name_addr(_single(headers, "From"))
    to = parse_name_addr(_single(headers, "To"))
    return _single(headers, "Call-ID"), cseq, method, from_, to


def _request(first: str, headers: Headers, body: bytes, via: Via) -> IncomingRequest:
    method, _, rest = first.partition(" ")
    uri_text, _, version = rest.rpartition(" ")
    if not re.fullmatch(r"SIP/[0-9]+\.[0-9]+", version, re.IGNORECASE) or not is_token(method):
        raise RemoteProtocolError("the request line is malformed")
    if version.upper() != "SIP/2.0":
        raise RemoteProtocolError("only SIP/2.0 is spoken here", 505)
    call_id, cseq, cseq_method, from_, to = _common(headers)
    if cseq_method != method:
        raise RemoteProtocolError("CSeq names another method than the request line")
    parse_name_addr_uri(from_)
    uri = parse_uri(uri_text)
    if "?" in uri_text.rpartition("@")[2]:
        raise RemoteProtocolError("the Request-URI has headers")  # RFC 3261 section 19.1.1: not allowed there
    return IncomingRequest(headers, body, via, call_id, cseq, method, from_, to, uri)


def parse_name_addr_uri(address: NameAddr) -> None:
    """Check the URI of From where it is one that we know; foreign schemes are allowed there (RFC 4475 3.3.3).

    Raises:
        RemoteProtocolError: it is a malformed SIP, SIPS or tel URI.
    """
    try:
        parse_uri(address.uri)
    except RemoteProtocolError as error:
        if error.status != 416:
            raise


def _response(rest: str, headers: Headers, body: bytes, via: Via) -> IncomingResponse:
    code, _, phrase = rest.partition(" ")
    status = parse_int(code, "status", 699)
    if status < 100:
        raise RemoteProtocolError("the status is below 100")
    call_id, cseq, method, from_, to = _common(headers)
    return IncomingResponse(headers, body, via, call_id, cseq, method, from_, to, status, phrase)


def find_sdp(content_type: str, body: bytes) -> str | None:
    """Return the session description of a body, or None."""
    kind, *params = content_type.split(";")
    kind = kind.strip().lower()
    if kind == SDP:
        return body.decode("utf-8", "replace") if body.strip() else None
    if not kind.startswith("multipart/"):
        return None
    boundary = next((p.partition("=")[2].strip(' "') for p in params if p.strip().lower().startswith("boundary=")), "")
    if not boundary:
        return None
    for part in body.split(b"--" + boundary.encode("utf-8", "surrogateescape"), 20)[1:20]:
        head, _, content = part.partition(b"\r\n\r\n")
        if b"application/sdp" in head.lower():
            return content.removesuffix(b"\r\n").decode("utf-8", "replace")
    return None


def to_bytes(message: Request | Response) -> bytes:
    """Write a message, with Content-Length; bytes that were no UTF-8 when read come out as they were."""
    message.headers.set("Content-Length", str(len(message.body)))
    first = (
        f"{message.method} {message.uri} SIP/2.0"
        if isinstance(message, Request)
        else f"SIP/2.0 {message.code} {message.phrase}"
    )
    return f"{first}\r\n{message.headers}".encode("utf-8", "surrogateescape") + message.body


def new_request(method: str, uri: URI) -> Request:
    """Return a request with room for Via as its first header, where proxies look for it."""
    request = Request(method, uri)
    request.headers.set("Via", "")
    request.headers.set("Max-Forwards", "70")
    return request


def set_headers(headers: Headers, extra: Sequence[tuple[str, str]]) -> None:
    """Add headers given by our own side, without anything that could end the line."""
    for name, value in extra:
        if is_token(name):
            headers.add(name, clean(value))


def set_sdp(message: Request | Response, sdp: str) -> None:
    """Make *sdp* the body."""
    message.headers.set("Content-Type", SDP)
    message.body = sdp.encode()


def answered_via(via: Via, flow: Flow) -> str:
    """Return the topmost Via with received and rport as RFC 3261 18.2.1 and RFC 3581 section 4 want them."""
    text = via.raw
    host, port = flow.remote
    if "rport" in via.params and via.params["rport"] is None:
        text = re.sub(r";\s*rport\s*=?\s*(?=;|$)", f";rport={port}", text, count=1, flags=re.IGNORECASE)
    if "received" not in via.params and (host != via.host or "rport" in via.params):
        text += f";received={host}"
    return text


def reply_flow(via: Via, flow: Flow) -> Flow:
    """Return where the answer goes (RFC 3261 section 18.2.2): only ever to the packet's source address.

    A name or address in Via is not followed: that would make us send to whom a stranger chooses.
    """
    if flow.is_websocket:
        return flow  # nobody can connect to its peer (RFC 7118 section 5.3)
    port = via.port or default_port(flow.transport)
    if flow.reliable:
        return replace(flow, fallback=(flow.remote[0], port))
    if "rport" in via.params:
        return flow
    return flow if port == flow.remote[1] else replace(flow, remote=(flow.remote[0], port))


def make_response(
    status: int, headers: Headers, via: Via, flow: Flow, *, to_tag: str = "", phrase: str = "",
    extra: Sequence[tuple[str, str]] = (),
) -> Response:  # fmt: skip
    """Build the response to a request received on *flow* (RFC 3261 section 8.2.6).

    Args:
        status: 100 to 699.
        headers: the request's headers.
        via: its topmost Via.
        flow: where it came from.
        to_tag: our tag, put in To unless the request has one there.
        phrase: reason phrase; the usual one when empty.
        extra: more headers.
    """
    response = Response(status, clean(phrase) or PHRASES.get(status, "Unknown"))
    out = response.headers
    out.setlist("Via", [answered_via(via, flow), *headers.getlist("Via")[1:]])
    for name in ("From", "To", "Call-ID", "CSeq"):
        if value := headers.get(name):  # a malformed request that is answered may lack one
            out.set(name, value)
    if status == 100 and (timestamp := headers.get("Timestamp")):
        out.set("Timestamp", timestamp)  # section 8.2.6.1; we answer at once, so there is no delay to add
    to = headers.get("To")
    if to_tag and status > 100 and to and not _has_tag(to):
        out.set("To", f"{to};tag={to_tag}")
    set_headers(out, extra)
    return response


def _has_tag(value: str) -> bool:
    try:
        return bool(parse_name_addr(value).tag)
    except RemoteProtocolError:
        return True  # a To that we cannot read is echoed untouched


def new_via(flow: Flow, branch: str) -> str:
    """Return a Via of ours; rport is always asked for (RFC 3581).

    Over TLS that we opened the peer is also asked to send its requests by this connection (RFC 5923).
    """
    host, port = flow.local
    alias = ";alias" if flow.transport == "tls" and flow.connectable else ""
    return f"SIP/2.0/{flow.transport.upper()} {bracketed(host)}:{port};branch={branch};rport{alias}"
