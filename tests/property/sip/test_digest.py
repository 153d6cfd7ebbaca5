"""Our client and our server agree on any user, realm and password, and on nothing else."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gateway.protocol.sip.digest import DigestClient, parse_auth
from gateway.protocol.sip.digest_server import AuthLimits, DigestServer, Verdict
from gateway.protocol.sip.message import IncomingRequest, IncomingResponse, make_response, parse_message, to_bytes
from tests.support.sip_lab import UDP, counter, request_text

pytestmark = pytest.mark.property

# quotes, backslashes, commas, colons and UTF-8 are the ones that go wrong
TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=20) | st.text('"\\,:=<> é日ß', max_size=12)
NAME = TEXT.filter(bool)
ALGORITHM = st.sampled_from(["MD5", "SHA-256", "SHA-512-256"])
SOURCE = "192.0.2.20"


def over_the_wire(server: DigestServer, client: DigestClient, realm: str, algorithm: str, now: float) -> dict[str, str]:
    """Challenge the client and return its credentials, both as they are read from bytes."""
    request = parse_message(request_text().encode())
    assert isinstance(request, IncomingRequest)
    challenge = server.challenge(realm, (algorithm,), SOURCE, now)
    response = make_response(401, request.headers, request.via, UDP, extra=challenge)
    received = parse_message(to_bytes(response))
    assert isinstance(received, IncomingResponse)
    assert client.learn(received, set())
    ((name, value),) = client.headers("INVITE", "sip:x")
    answer = parse_message(request_text(headers=[f"{name}: {value}"]).encode())
    return parse_auth(answer.header("Authorization") or "")


@given(user=NAME, realm=TEXT, password=TEXT, algorithm=ALGORITHM)
@settings(max_examples=150, deadline=None)
def test_the_right_password_is_right(user: str, realm: str, password: str, algorithm: str) -> None:
    tokens = counter("t")
    server = DigestServer(b"k" * 32, lambda: next(tokens), AuthLimits())
    client = DigestClient(user, password, lambda: next(tokens))
    credentials = over_the_wire(server, client, realm, algorithm, 10.0)

    def check(password: str, method: str = "INVITE", now: float = 11.0) -> Verdict:
        return server.check(
            credentials, method=method, user=user, password=password, realm=realm, algorithms=(algorithm,),
            source=SOURCE, now=now,
        )  # fmt: skip

    assert check(password + "x") is Verdict.WRONG
    assert check(password, method="BYE") is Verdict.WRONG
    assert check(password, now=1000.0) is Verdict.STALE
    assert check(password) is Verdict.GOOD
    assert check(password) is Verdict.STALE


KEPT = ("username", "realm", "nonce", "uri", "algorithm", "qop", "nc", "cnonce")


@given(
    credentials=st.dictionaries(st.sampled_from([*KEPT, "response", "opaque"]), st.text(max_size=30), max_size=10),
    keep=st.sets(st.sampled_from(KEPT)),
)
@settings(max_examples=200, deadline=None)
def test_no_other_credentials_are_right(credentials: dict[str, str], keep: set[str]) -> None:
    tokens = counter("t")
    server = DigestServer(b"k" * 32, lambda: next(tokens), AuthLimits())
    right = over_the_wire(server, DigestClient("u", "p", lambda: next(tokens)), "r", "MD5", 10.0)
    mixed = {**credentials, **{name: right[name] for name in keep}}
    assume(mixed.get("response") != right["response"])
    verdict = server.check(
        mixed, method="INVITE", user="u", password="p", realm="r", algorithms=("MD5",), source=SOURCE, now=11.0
    )  # fmt: skip
    assert verdict is not Verdict.GOOD
    assert not server._used, "nothing is kept for a wrong answer"
