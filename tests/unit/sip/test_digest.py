"""Digest authentication, both sides, with the examples of the RFCs."""

from __future__ import annotations

import pytest

from gateway.protocol.sip.digest import DigestClient, digest_response, parse_auth
from gateway.protocol.sip.digest_server import AuthLimits, DigestServer, Verdict
from gateway.protocol.sip.message import IncomingRequest, IncomingResponse, parse_message
from tests.support.sip_lab import OFFER, authorization, counter, request_text, response_text

pytestmark = pytest.mark.unit

MESSAGE = request_text(body=OFFER).encode()

MUFASA = {
    "user": "Mufasa", "realm": "http-auth@example.org", "password": "Circle of Life", "method": "GET",
    "uri": "/dir/index.html", "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", "nc": "00000001",
    "cnonce": "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", "qop": "auth",
}  # fmt: skip
# RFC 7616 section 3.9.2; its response is wrong, erratum 4897 has the right one
JASON = {
    "user": "Jäsøn Doe", "realm": "api@example.org", "password": "Secret, or not?", "method": "GET",
    "uri": "/doe.json", "nonce": "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", "nc": "00000001",
    "cnonce": "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v", "qop": "auth",
}  # fmt: skip
OLD_MUFASA = {
    **MUFASA, "realm": "testrealm@host.com", "password": "Circle Of Life",
    "nonce": "dcd98b7102dd2f0e8b11d0f600bfb0c093", "cnonce": "0a4f113b",
}  # fmt: skip
# draft-smith-sip-auth-examples-00
BOB = {
    "user": "bob", "realm": "biloxi.com", "password": "zanzibar", "method": "INVITE", "uri": "sip:bob@biloxi.com",
    "nonce": "dcd98b7102dd2f0e8b11d0f600bfb0c093", "nc": "00000001", "cnonce": "0a4f113b",
}  # fmt: skip
BOBS_BODY = (
    b"v=0\r\no=bob 2890844526 2890844526 IN IP4 media.biloxi.com\r\ns=-\r\nc=IN IP4 media.biloxi.com\r\nt=0 0\r\n"
    b"m=audio 49170 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\nm=video 51372 RTP/AVP 31\r\na=rtpmap:31 H261/90000\r\n"
    b"m=video 53000 RTP/AVP 32\r\na=rtpmap:32 MPV/90000\r\n"
)


@pytest.mark.parametrize(
    ("algorithm", "inputs", "expected"),
    [
        ("MD5", OLD_MUFASA, "6629fae49393a05397450978507c4ef1"),  # RFC 2617 section 3.5
        ("MD5", MUFASA, "8ca523f5e9506fed4657c9700eebdbec"),  # RFC 7616 section 3.9.1
        ("SHA-256", MUFASA, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ("SHA-512-256", JASON, "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"),
        ("MD5", {**BOB, "nc": "", "cnonce": ""}, "bf57e4e0d0bffc0fbaedce64d59add5e"),
        ("MD5", {**BOB, "qop": "auth"}, "89eb0059246c02b2f6ee02c7961d5ea3"),
        ("MD5", {**BOB, "qop": "auth-int"}, "bdbeebb2da6adb6bca02599c2239e192"),
        ("MD5-sess", {**BOB, "qop": "auth"}, "e4e4ea61d186d07a92c9e1f6919902e9"),
        ("MD5-sess", {**BOB, "qop": "auth-int"}, "91984da2d8663716e91554859c22ca70"),
    ],
)
def test_examples_of_the_rfcs(algorithm: str, inputs: dict[str, str], expected: str) -> None:
    body = BOBS_BODY if inputs.get("qop") == "auth-int" else b"ignored"
    assert digest_response(algorithm=algorithm, body=body, **inputs) == expected


# the client


def challenge(status: int, *values: str) -> IncomingResponse:
    request = parse_message(MESSAGE)
    name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
    message = parse_message(response_text(request, status, headers=[f"{name}: {value}" for value in values]).encode())  # type: ignore[arg-type]
    assert isinstance(message, IncomingResponse)
    return message


def client(user: str = "gw") -> DigestClient:
    tokens = counter("c")
    return DigestClient(user, "pw", lambda: next(tokens), most_realms=2)


def test_client_takes_the_topmost_challenge_of_a_realm_that_it_speaks() -> None:
    one = client()
    md5 = 'Digest realm="r", nonce="n1", algorithm=MD5, qop="auth"'
    sha = 'Digest realm="r", nonce="n2", algorithm=SHA-256, qop="auth-int,auth", opaque="o\\"p"'
    unknown = 'Digest realm="r", nonce="n3", algorithm=SHA-512'
    assert one.learn(challenge(401, unknown, f"{sha}, {md5}, {sha}"), set())
    ((name, value),) = one.headers("REGISTER", "sip:x")
    assert name == "Authorization"
    params = parse_auth(value)
    assert {name: params[name] for name in ("algorithm", "nonce", "opaque", "nc", "qop")} == {
        "algorithm": "SHA-256", "nonce": "n2", "opaque": 'o"p', "nc": "00000001", "qop": "auth",
    }  # fmt: skip
    assert params["response"] == digest_response(
        algorithm="SHA-256", user="gw", realm="r", password="pw", method="REGISTER", uri="sip:x", nonce="n2",
        nc="00000001", cnonce=params["cnonce"], qop="auth",
    )  # fmt: skip


def test_client_without_qop() -> None:
    one = client()
    assert one.learn(challenge(407, 'Digest realm="r", nonce="n1"'), set())
    ((name, value),) = one.headers("INVITE", "sip:x")
    params = parse_auth(value)
    assert name == "Proxy-Authorization"
    assert "nc" not in params
    assert params["algorithm"] == "MD5"


@pytest.mark.parametrize(
    "value",
    [
        'Basic realm="r"',
        "Digest",
        'Digest realm="r"',
        'Digest realm="r", nonce="n", qop="token"',
        'Digest realm="r", nonce="n", algorithm=AKAv1-MD5',
        'Digest realm="r", nonce="n", nonce="m"',
        'Digest realm="r',
        "Digest " + ", ".join(f"p{number}=1" for number in range(50)),
    ],
)
def test_challenges_that_cannot_be_answered(value: str) -> None:
    one = client()
    assert not one.learn(challenge(401, value), set())
    assert one.headers("INVITE", "sip:x") == []


def test_client_remembers_only_so_many_realms() -> None:
    one = client()
    for number in range(5):
        assert one.learn(challenge(401, f'Digest realm="r{number}", nonce="n"'), set())
    assert len(one.headers("INVITE", "sip:x")) == 2


def server(**limits: object) -> DigestServer:
    tokens = counter("s")
    return DigestServer(b"k" * 32, lambda: next(tokens), AuthLimits(**limits))  # type: ignore[arg-type]


def check(one: DigestServer, header: str, now: float = 10.0) -> Verdict:
    return one.check(
        parse_auth(header.partition(": ")[2]), method="INVITE", user="pbx", password="geheim", realm="r",
        algorithms=("MD5",), source="192.0.2.20", now=now,
    )  # fmt: skip


def asked(one: DigestServer, now: float = 10.0) -> str:
    return one.challenge("r", ("MD5",), "192.0.2.20", now)[0][1]


def test_nonce_counts_may_overtake_each_other_but_not_repeat() -> None:
    one = server()
    nonce = asked(one)
    for count in (1, 5, 3, 4, 100):
        assert check(one, authorization(nonce, nc=count)) is Verdict.GOOD
    for count in (5, 3, 100, 36, 0):
        assert check(one, authorization(nonce, nc=count)) is Verdict.STALE  # used, or too far behind the newest
    assert check(one, authorization(nonce, nc=37)) is Verdict.GOOD
    assert check(one, authorization(asked(one), nc=0)) is Verdict.STALE


def test_without_qop_a_nonce_is_good_once() -> None:
    one = server()
    nonce = asked(one)
    assert check(one, authorization(nonce, qop="")) is Verdict.GOOD
    assert check(one, authorization(nonce, qop="")) is Verdict.STALE


def test_a_full_table_never_lets_a_used_nonce_pass_again() -> None:
    one = server(max_nonces=2)
    nonces = [asked(one, 10.0 + number) for number in range(4)]
    for nonce in nonces:
        assert check(one, authorization(nonce), 14.0) is Verdict.GOOD
    for nonce in nonces:
        assert check(one, authorization(nonce), 14.0) is Verdict.STALE
    assert len(one._used) == 2


@pytest.mark.parametrize("nonce", ["", "zz-x-y", "1-2", "a-b-c", "1" * 40 + "-a-b", "\udcff-1-2"])
def test_nonces_that_are_not_ours(nonce: str) -> None:
    header = f'Authorization: Digest username="pbx", realm="r", nonce="{nonce}", uri="sip:x", response="0"'
    assert check(server(), header) is Verdict.STALE


@pytest.mark.parametrize("algorithm", ["MD5-sess", "sha-256-SESS", "SHA-512-256-sess"])
def test_the_key_of_a_session_is_made_once(algorithm: str) -> None:
    one = client()
    assert one.learn(challenge(401, f'Digest realm="r", nonce="n", qop="auth", algorithm={algorithm}'), set())
    first, second = (parse_auth(one.headers("INVITE", "sip:x")[0][1]) for _ in range(2))
    assert first["algorithm"] == algorithm
    assert (first["nc"], second["nc"]) == ("00000001", "00000002")
    assert first["cnonce"] == second["cnonce"]
    assert second["response"] == digest_response(
        algorithm=algorithm, user="gw", realm="r", password="pw", method="INVITE", uri="sip:x", nonce="n",
        nc="00000002", cnonce=first["cnonce"], qop="auth",
    )  # fmt: skip


def test_the_body_counts_where_a_server_wants_it() -> None:
    one = client()
    assert one.learn(challenge(401, 'Digest realm="r", nonce="n", qop="auth-int"'), set())
    params = parse_auth(one.headers("INVITE", "sip:x", b"v=0\r\n")[0][1])
    assert params["qop"] == "auth-int"
    assert params["response"] == digest_response(
        algorithm="MD5", user="gw", realm="r", password="pw", method="INVITE", uri="sip:x", nonce="n",
        nc="00000001", cnonce=params["cnonce"], qop="auth-int", body=b"v=0\r\n",
    )  # fmt: skip


def test_challenges_of_both_kinds_in_one_answer() -> None:
    """A proxy that forked puts what its branches asked into one 401 (RFC 3261 section 16.7, step 7)."""
    one = client()
    request = parse_message(MESSAGE)
    assert isinstance(request, IncomingRequest)
    headers = [
        'Proxy-Authenticate: Digest realm="proxy", nonce="p", qop="auth"',
        'WWW-Authenticate: Digest realm="far", nonce="f", qop="auth"',
    ]
    response = parse_message(response_text(request, 401, headers=headers).encode())
    assert isinstance(response, IncomingResponse)
    tried: set[tuple[bool, str]] = set()
    assert one.learn(response, tried)
    assert {name: parse_auth(value)["realm"] for name, value in one.headers("INVITE", "sip:x")} == {
        "Proxy-Authorization": "proxy",
        "Authorization": "far",
    }
    assert not one.learn(response, tried), "both are wrong: not again"


def test_a_server_with_ever_new_realms_is_not_followed_for_ever() -> None:
    one, tried = client(), set[tuple[bool, str]]()
    followed = [one.learn(challenge(401, f'Digest realm="r{number}", nonce="n"'), tried) for number in range(20)]
    assert followed == [True] * 8 + [False] * 12


# the server


def test_only_what_was_offered_is_taken() -> None:
    one = server()
    for change in ("algorithm=MD5-sess", "algorithm=SHA-256", "algorithm=SHA3"):
        header = authorization(asked(one)).replace("algorithm=MD5", change)
        assert check(one, header) is Verdict.WRONG
    assert check(one, authorization(asked(one), qop="auth-int")) is Verdict.WRONG


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "SHA-512-256"])
def test_every_algorithm_that_may_be_offered(algorithm: str) -> None:
    one = server()
    ((_, asks),) = one.challenge("r", (algorithm,), "192.0.2.20", 10.0)
    params = parse_auth(authorization(asks).partition(": ")[2])
    verdict = one.check(
        params, method="INVITE", user="pbx", password="geheim", realm="r", algorithms=(algorithm,),
        source="192.0.2.20", now=10.0,
    )  # fmt: skip
    assert verdict is Verdict.GOOD
