"""Reading and writing messages, whole ones and broken ones."""

from __future__ import annotations

import re

import pytest

from gateway.domain.errors import RemoteProtocolError
from gateway.protocol.sip.flow import bracketed, host_port, is_ip
from gateway.protocol.sip.message import (
    AnswerableError,
    IncomingRequest,
    IncomingResponse,
    find_sdp,
    make_response,
    parse_message,
    set_headers,
    to_bytes,
)
from tests.support.sip_lab import OFFER, UDP, request_text, response_text

pytestmark = pytest.mark.unit

WHOLE = request_text(body=OFFER)


def request(text: str | bytes) -> IncomingRequest:
    message = parse_message(text if isinstance(text, bytes) else text.encode())
    assert isinstance(message, IncomingRequest)
    return message


def test_tortuous_but_valid() -> None:
    # after RFC 4475 3.1.1.1: folding, blanks before colons, compact and odd-case names, escapes, unknown headers
    text = (
        "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0\r\n"
        "TO :\r\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n\r\n"
        'from   : "J Rosenberg \\\\\\""       <sip:jdrosen@example.com>\r\n  ;\r\n  tag = 98asjd8\r\n'
        "MaX-fOrWaRdS: 0068\r\n"
        "Call-ID: wsinv.ndaksdj@192.0.2.1\r\n"
        "Content-Length   : 2\r\n"
        "cseq: 0009\r\n  INVITE\r\n"
        "Via  : SIP  /   2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw\r\n"
        "s :\r\n"
        "NewFangledHeader:   newfangled value\r\n continued newfangled value\r\n"
        "UnknownHeaderWithUnusualValue: ;;,,;;,;\r\n"
        "Content-Type: application/sdp\r\n"
        "Route:\r\n <sip:services.example.com;lr;unknownwith=value;unknown-no-value>\r\n"
        "v:  SIP  / 2.0  / TCP     spindle.example.com   ;\r\n"
        "  branch  =   z9hG4bK9ikj8  ,\r\n SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239\r\n"
        'm:"Quoted string \\"\\"" <sip:jdrosen@example.com> ; newparam =\r\n      newvalue ;\r\n'
        "  secondparam ; q = 0.33\r\n\r\n"
        "v=trailing bytes"
    )
    message = request(text)
    assert (message.to.tag, message.from_.tag, message.cseq) == ("1918181833n", "98asjd8", 9)
    assert message.from_.name == 'J Rosenberg \\"'
    assert (message.via.transport, message.via.host, message.via.branch) == ("UDP", "192.0.2.2", "390skdjuw")
    assert message.header("Subject") == ""
    assert message.header("newfangledheader") == "newfangled value continued newfangled value"
    assert message.body == b"v="


def test_a_datagram_without_content_length_is_all_body() -> None:
    assert request(re.sub("Content-Length: [0-9]+\r\n", "", WHOLE)).sdp == OFFER


def test_several_vias_in_one_line() -> None:
    message = request(WHOLE.replace(";rport", ";rport, SIP/2.0/TCP [2001:db8::1]:5070;branch=z9hG4bKx"))
    assert len(message.headers.getlist("Via")) == 2
    assert message.via.params["rport"] is None


@pytest.mark.parametrize(
    ("uri", "host", "port", "user"),
    [
        ("sip:[2001:db8::10]:5070", "2001:db8::10", 5070, None),
        ("sip:pbx1", "pbx1", None, None),
        ("SIP:a%20b;x=1:secret@my_pbx.test;lr", "my_pbx.test", None, "a b;x=1"),
        ("sips:1@192.0.2.1", "192.0.2.1", None, "1"),
        ("tel:+49-30-1;phone-context=x", "", None, "+49-30-1"),
        ("sip:a@b;self=1;transport=TCP", "b", None, "a"),
        ("sip:?a@b", "b", None, "?a"),
    ],
)
def test_request_uris(uri: str, host: str, port: int | None, user: str | None) -> None:
    message = request(WHOLE.replace("INVITE sip:5511999990000@192.0.2.10:5080", f"INVITE {uri}"))
    assert (message.uri.host, message.uri.port, message.uri.user, str(message.uri)) == (host, port, user, uri)


def swap(old: str, new: str) -> str:
    assert old in WHOLE
    return WHOLE.replace(old, new)


BROKEN = {
    # RFC 4475 section 3.1.2 and 3.3, each with what it breaks
    "badinv01: extra separators": (swap(";branch=z9hG4bKa1;rport", ";;,;branch=z9hG4bKa1"), 400),
    "clerr: body shorter than Content-Length": (swap("Content-Length: ", "Content-Length: 9"), 400),
    "ncl: negative Content-Length": (swap("Content-Length: ", "Content-Length: -"), 400),
    "two Content-Lengths": (swap("Content-Length", "Content-Length: 1\r\nContent-Length"), 400),
    "scalar02: CSeq too large": (swap("CSeq: 1 ", "CSeq: 36893488147419103232 "), 400),
    "scalar02: Via port too large": (swap("192.0.2.20:5060;b", "192.0.2.20:99999;b"), None),
    "Via port 0": (swap("192.0.2.20:5060;b", "192.0.2.20:0;b"), None),
    "quotbal: unbalanced quotes": (swap("From: <", 'From: "Mr. J. User <'), 400),
    "ltgtruri: Request-URI in <>": (swap("INVITE sip:5511999990000@192.0.2.10:5080", "INVITE <sip:x@y>"), 400),
    "lwsruri: blanks in the Request-URI": (swap("0000@192.0.2.10:5080 SIP", "0000@192.0.2.10:5080; lr SIP"), 400),
    "lwsstart: blanks in the request line": (swap("INVITE sip", "INVITE  sip"), 400),
    "trws: blank after the request line": (swap("SIP/2.0\r\nVia", "SIP/2.0 \r\nVia"), 400),
    "badvers: SIP/7.0": (swap("SIP/2.0\r\nVia", "SIP/7.0\r\nVia"), 505),
    "mismatch01: CSeq of another method": (swap("CSeq: 1 INVITE", "CSeq: 1 OPTIONS"), 400),
    "unkscm: unknown scheme": (swap("INVITE sip:", "INVITE nobodyKnowsThisScheme:"), 416),
    "novelsc: odd scheme": (swap("INVITE sip:", "INVITE soap.beep://"), 416),
    "scheme alone": (swap("INVITE sip:5511999990000@192.0.2.10:5080", "INVITE sip:"), 400),
    "no scheme": (swap("INVITE sip:5511999990000@192.0.2.10:5080", "INVITE x"), 400),
    "empty tel": (swap("INVITE sip:5511999990000@192.0.2.10:5080", "INVITE tel:;x"), 400),
    "empty user": (swap("INVITE sip:5511999990000@", "INVITE sip:@"), 400),
    "host with spaces": (swap("INVITE sip:5511999990000@192.0.2.10:5080", "INVITE sip:a@b:x"), 400),
    "host that is none": (swap("INVITE sip:5511999990000@192.0.2.10:5080", "INVITE sip:a@!"), 400),
    "host and rubbish": (swap("INVITE sip:5511999990000@192.0.2.10:5080", "INVITE sip:a@b!c"), 400),
    "insuf: no Call-ID": (swap("Call-ID: call-1\r\n", ""), 400),
    "insuf: no From": (swap("From: <sip:1000@192.0.2.20>;tag=ft1\r\n", ""), 400),
    "multi01: two From": (swap("From: <", "From: <sip:x@y>;tag=1\r\nFrom: <"), 400),
    "two CSeq": (swap("CSeq: 1", "CSeq: 2 INVITE\r\nCSeq: 1"), 400),
    "no Via": (swap("Via: ", "NoVia: "), None),
    "Via of another protocol": (swap("SIP/2.0/UDP", "HTTP/1.1/TCP"), None),
    "Via without a host": (swap("192.0.2.20:5060;branch", ";branch"), None),
    "Via with a spaced port": (swap("192.0.2.20:5060;b", "192.0.2.20 : 99999;b"), None),
    "line without colon": (swap("Max-Forwards: 70", "Max-Forwards 70"), 400),
    "header name with blanks": (swap("Max-Forwards", "Max Forwards"), 400),
    "NUL in a header": (swap("Max-Forwards: 70", "Subject: a\0b"), None),
    "lone line feed in a header": (swap("Max-Forwards: 70", "Subject: a\nX-Evil: b"), None),
    "CSeq without method": (swap("CSeq: 1 INVITE", "CSeq: 1"), 400),
    "CSeq with a bad method": (swap("CSeq: 1 INVITE", "CSeq: 1 IN<>"), 400),
    "CSeq of unicode digits": (swap("CSeq: 1", "CSeq: ١"), 400),
    "From without a URI": (swap("From: <sip:1000@192.0.2.20>", "From: <>"), 400),
    "From with a bad URI": (swap("From: <sip:1000@192.0.2.20>", "From: <sip:a@[x>"), 400),
    "From without <": (swap("From: <sip:1000@192.0.2.20>", "From: sip:x>"), 400),
    "To with a half quoted name": (swap("To: <", 'To: "a" b <'), 400),
    "parameter without a name": (swap(";tag=ft1", ";=ft1"), 400),
    "no end of headers": (WHOLE.partition("\r\n\r\n")[0], None),
    "too many headers": (swap("Max-Forwards: 70", "\r\n".join(["X: y"] * 300)), None),
    "headers that are too long": (swap("Max-Forwards: 70", "X: " + "y" * 20_000), None),
    "garbage": ("\x01\x02\x03\r\n\r\n", None),
    "request line only": ("INVITE sip:x SIP/2.0\r\n\r\n", None),
    "method with delimiters": (swap("INVITE sip", "INV<>TE sip"), None),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_requests_raise_only_what_is_documented(name: str) -> None:
    text, status = BROKEN[name]
    with pytest.raises(RemoteProtocolError) as caught:
        parse_message(text.encode())
    if status is None:
        assert not isinstance(caught.value, AnswerableError)
    else:
        assert isinstance(caught.value, AnswerableError)
        assert caught.value.status == status


def test_broken_ack_is_never_answered() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_message(request_text("ACK").replace("Content-Length: 0", "Content-Length: x").encode())
    assert not isinstance(caught.value, AnswerableError)


@pytest.mark.parametrize(
    "line", ["SIP/2.0 99 Low", "SIP/2.0 4294967301 Big", "SIP/2.0 abc x", "SIP/2.0 700 x", "SIP/2.0"]
)
def test_broken_responses(line: str) -> None:
    text = response_text(request(WHOLE), 200).replace("SIP/2.0 200 Whatever", line)
    with pytest.raises(RemoteProtocolError):
        parse_message(text.encode())


def test_response_without_phrase_and_foreign_from_scheme() -> None:
    text = response_text(request(WHOLE), 200).replace(" Whatever", "")
    message = parse_message(text.encode())
    assert isinstance(message, IncomingResponse)
    assert (message.status, message.phrase) == (200, "")
    assert request(swap("From: <sip:1000@192.0.2.20>", "From: <http://x.test>")).from_.tag == "ft1"


def test_bytes_that_are_no_utf8_come_back_as_they_were() -> None:
    data = WHOLE.encode().replace(b"call-1", b"caf\xe9\xff")
    message = request(data)
    response = make_response(486, message.headers, message.via, UDP, to_tag="x")
    assert b"Call-ID: caf\xe9\xff\r\n" in to_bytes(response)


def test_an_unreadable_to_is_echoed_untouched() -> None:
    message = request(WHOLE)
    message.headers.set("To", '"broken')
    assert b'To: "broken\r\n' in to_bytes(make_response(400, message.headers, message.via, UDP, to_tag="x"))


def test_our_headers_cannot_be_split() -> None:
    message = request(WHOLE)
    response = make_response(
        603, message.headers, message.via, UDP, phrase="No\r\nX: y", extra=[("X", "a\r\nY: b\x00")]
    )
    set_headers(response.headers, [("Bad Name", "x"), ("Z", "\udcff!")])
    text = to_bytes(response)
    assert text.startswith(b"SIP/2.0 603 NoX: y\r\n")
    assert b"X: aY: b\r\n" in text
    assert b"Bad" not in text
    assert b"Z: !\r\n" in text
    assert b"SIP/2.0 299 Unknown" in to_bytes(make_response(299, message.headers, message.via, UDP))


def test_sdp_in_multipart() -> None:
    body = (
        "--b1\r\nContent-Type: application/isup\r\n\r\n\x01\r\n--b1\r\nContent-Type: application/SDP\r\n\r\n"
        f"{OFFER}\r\n--b1--\r\n"
    )
    assert find_sdp('multipart/mixed; boundary="b1"', body.encode()) == OFFER
    assert find_sdp("multipart/mixed", body.encode()) is None
    assert find_sdp("multipart/mixed;boundary=b2", body.encode()) is None
    assert find_sdp("text/plain", b"x") is None
    assert find_sdp("application/sdp", b"  ") is None


def test_addresses() -> None:
    assert bracketed("::1") == "[::1]"
    assert host_port(("192.0.2.1", 5060)) == "192.0.2.1:5060"
    assert is_ip("::1")
    assert not is_ip("pbx")
