"""What is written down of a call's SIP messages."""

from __future__ import annotations

import time

import pytest

from gateway.domain.trace import SipLine
from gateway.protocol.sip.message_log import MessageLog, MessageLogs, read_head

pytestmark = pytest.mark.unit

SDP = "v=0\r\no=ana 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"


def message(start: str, cseq: str = "1 INVITE", call_id: str = "abc@192.0.2.7", *headers: str, body: str = "") -> bytes:
    lines = [
        start, "Via: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1", 'From: "Ana" <sip:5511987654321@pbx>;tag=1',
        "To: <sip:6001@pbx>", f"Call-ID: {call_id}", f"CSeq: {cseq}", *headers, f"Content-Length: {len(body)}",
    ]  # fmt: skip
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def texts(log: MessageLog) -> list[tuple[bool, str, str, int]]:
    return [(line.sent, line.text, line.detail, line.times) for line in log]


@pytest.mark.parametrize(
    ("data", "text", "detail"),
    [
        (message("INVITE sip:6001@pbx SIP/2.0", body=SDP), "INVITE", "SDP"),
        (message("INVITE sip:6001@pbx SIP/2.0", body=SDP + "a=sendonly\r\n"), "INVITE", "SDP sendonly"),
        (
            message("INVITE sip:6001@pbx SIP/2.0", "2 INVITE", "x", "Proxy-Authorization: Digest username=ana"),
            "INVITE",
            "with credentials",
        ),
        (message("SIP/2.0 180 Ana is being rung", "1 INVITE"), "180 Ringing", "INVITE"),
        (message("SIP/2.0 299 Ana", "3 BYE"), "299", "BYE"),
        (message("SIP/2.0 200", "3 BYE"), "200 OK", "BYE"),
        (
            message("BYE sip:6001@pbx SIP/2.0", "3 BYE", "x", 'Reason: Q.850;cause=16;text="Ana hung up"'),
            "BYE",
            "Q.850 cause 16",
        ),
        (message("CANCEL sip:a@b SIP/2.0", "1 CANCEL", "x", "reason: sip ; cause=200"), "CANCEL", "SIP cause 200"),
        (b"BYE sip:a SIP/2.0\r\ni: x\r\ncseq: 1 bye\r\n\r\n", "BYE", ""),
    ],
)
def test_start_line_and_what_matters_and_nothing_personal(data: bytes, text: str, detail: str) -> None:
    head = read_head(data)
    assert head is not None
    assert (head.text, head.detail) == (text, detail)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"\xff\x00",
        message("ANA sip:6001@pbx SIP/2.0", "1 ANA"),
        message("BYE sip:6001@pbx SIP/2.0", "1 ANA"),
        message("SIP/2.0 700 Ana"),
        b"BYE sip:a SIP/2.0\r\nCSeq: 1 BYE\r\n\r\n",
        b"BYE sip:a SIP/2.0\r\nCall-ID: 1\r\n\r\n",
    ],
)
def test_what_is_no_message_is_not_written_down(data: bytes) -> None:
    assert read_head(data) is None


def test_what_came_before_the_call_was_known_is_in_its_log_and_retransmissions_are_counted() -> None:
    logs, log = MessageLogs(), MessageLog()
    logs.see(0.0, message("INVITE sip:6001@pbx SIP/2.0"), sent=False)
    logs.see(0.1, message("SIP/2.0 401 Unauthorized"), sent=True)
    logs.see(0.2, message("ACK sip:6001@pbx SIP/2.0", "1 ACK"), sent=False)
    logs.see(0.2, message("INVITE sip:6001@pbx SIP/2.0", call_id="other"), sent=False)
    logs.see(0.3, message("INVITE sip:6001@pbx SIP/2.0", "2 INVITE"), sent=False)
    logs.open("abc@192.0.2.7", log)
    logs.see(0.4, message("SIP/2.0 100 Trying", "2 INVITE"), sent=True)
    logs.see(0.8, message("INVITE sip:6001@pbx SIP/2.0", "2 INVITE"), sent=False)
    logs.see(0.8, message("SIP/2.0 100 Trying", "2 INVITE"), sent=True)
    assert texts(log) == [
        (False, "INVITE", "", 1),
        (True, "401 Unauthorized", "INVITE", 1),
        (False, "ACK", "", 1),
        (False, "INVITE", "", 2),
        (True, "100 Trying", "INVITE", 2),
    ]
    assert next(iter(log)) == SipLine(0.0, False, ("INVITE", "1", "INVITE"), "INVITE")


def test_each_side_counts_its_own_requests() -> None:
    logs, log = MessageLogs(), MessageLog()
    logs.open("x", log)
    logs.see(0.0, message("OPTIONS sip:a SIP/2.0", "5 OPTIONS", "x"), sent=True)
    logs.see(0.0, message("OPTIONS sip:a SIP/2.0", "5 OPTIONS", "x"), sent=False)
    assert texts(log) == [(True, "OPTIONS", "", 1), (False, "OPTIONS", "", 1)]


def test_what_comes_after_the_call_is_told_once() -> None:
    logs, log, told = MessageLogs(closed=2), MessageLog(), list[int]()
    logs.open("x", log)
    logs.see(0.0, message("SIP/2.0 486 Busy Here", call_id="x"), sent=True)
    log.on_new = lambda: told.append(1)
    logs.close("x")
    logs.close("x")
    for _ in range(3):
        logs.see(0.1, message("ACK sip:a SIP/2.0", "1 ACK", "x"), sent=False)
    assert (texts(log)[-1], len(told)) == ((False, "ACK", "", 3), 1)
    for other in ("a", "b"):
        logs.open(other, MessageLog())
        logs.close(other)
    logs.see(0.2, message("BYE sip:a SIP/2.0", "2 BYE", "x"), sent=False)
    assert len(told) == 1  # it was forgotten by then


def test_strangers_and_other_requests_leave_nothing_behind() -> None:
    logs, log = MessageLogs(recent=2), MessageLog()
    for n in range(5):
        logs.see(n, message("INVITE sip:a SIP/2.0", call_id=f"stranger{n}"), sent=False)
    logs.see(9, b"\x00" * 64, sent=False)
    logs.see(9, message("INVITE broken", call_id="mine"), sent=False)
    logs.see(9, message("OPTIONS sip:a SIP/2.0", "1 OPTIONS", "mine", "Allow: INVITE"), sent=False)
    logs.see(9, message("REGISTER sip:a SIP/2.0", "1 REGISTER", "mine"), sent=False)
    logs.open("mine", log)
    assert texts(log) == []
    logs.open("stranger4", log)
    assert len(texts(log)) == 1


def test_looking_costs_little_whatever_comes() -> None:
    logs = MessageLogs()
    logs.open("x", MessageLog())
    hostile = [
        b"Reason: SIP;" + b"cause " * 10_000, b"Call-ID: " + b"a" * 60_000, b"\r\n" * 30_000,
        b"CSeq: " + b"1 " * 30_000,
        message("BYE sip:a SIP/2.0", "2 BYE", "x", *["Reason: SIP;cause" + " " * 180] * 200),
    ]  # fmt: skip
    began = time.process_time()
    for data in hostile:
        logs.see(0.0, data, sent=False)
        read_head(data)
    assert time.process_time() - began < 1  # quadratic ones would take many seconds
