"""Digest authentication, the client's side and what both sides share (RFC 3261 section 22, RFC 7616, RFC 8760)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.domain.errors import RemoteProtocolError
from gateway.protocol.sip.message import IncomingResponse
from gateway.protocol.sip.text import clean, is_token, quote, split_list, unquote

HASHES: Final[dict[str, str]] = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}
_SESSION: Final = "-SESS"
_MOST_PARAMS: Final = 32


def parse_auth(value: str) -> dict[str, str]:
    """Read the parameters of a Digest challenge or of Digest credentials; names in lower case.

    Raises:
        RemoteProtocolError: malformed, or another scheme.
    """
    scheme, _, rest = value.strip().partition(" ")
    if scheme.lower() != "digest":
        raise RemoteProtocolError("the authentication scheme is not Digest")
    params: dict[str, str] = {}
    pieces = split_list(rest, ",")
    if len(pieces) > _MOST_PARAMS:
        raise RemoteProtocolError("too many digest parameters")
    for piece in pieces:
        if not piece.strip():
            continue  # a comma too many, as some servers leave at the end
        name, equals, text = piece.partition("=")
        name = name.strip().lower()
        if not equals or not is_token(name) or name in params:
            raise RemoteProtocolError("a digest parameter is malformed or repeated")
        params[name] = unquote(text)
    return params


def hashed(algorithm: str, data: bytes) -> str:
    """Return the hash of *data* in hexadecimal; *algorithm* is one of `HASHES`."""
    return hashlib.new(HASHES[algorithm], data, usedforsecurity=False).hexdigest()


def digest_response(
    *, algorithm: str, user: str, realm: str, password: str, method: str, uri: str, nonce: str,
    nc: str = "", cnonce: str = "", qop: str = "", body: bytes = b"",
) -> str:  # fmt: skip
    """Compute the response (RFC 7616 section 3.4.1); when *qop* is empty, as RFC 2069 did.

    Args:
        algorithm: one of `HASHES`, or one with ``-sess`` after it.
        user: the username.
        realm: the realm of the challenge.
        password: the shared secret.
        method: of the request.
        uri: the digest-uri.
        nonce: the server's.
        nc: nonce count, 8 hex digits.
        cnonce: the client's nonce.
        qop: ``auth``, ``auth-int`` or empty.
        body: of the request; counts with ``auth-int`` only.
    """
    base = algorithm.upper().removesuffix(_SESSION)

    def of(text: str) -> str:
        return hashed(base, text.encode("utf-8", "surrogateescape"))

    secret = of(f"{user}:{realm}:{password}")
    if algorithm.upper() != base:
        secret = of(f"{secret}:{nonce}:{cnonce}")
    what = of(f"{method}:{uri}:{hashed(base, body)}" if qop == "auth-int" else f"{method}:{uri}")
    middle = f"{nonce}:{nc}:{cnonce}:{qop}" if qop else nonce
    return of(f"{secret}:{middle}:{what}")


@dataclass(slots=True)
class _Challenge:
    realm: str
    nonce: str
    algorithm: str
    opaque: str | None
    qop: str
    proxy: bool
    count: int = 0
    session_cnonce: str = ""  # the key of a -sess algorithm is made of the first cnonce, which therefore stays


class DigestClient:
    """Answers challenges with one user and password, and remembers them to spare the next round trip.

    Args:
        user: the username.
        password: the secret.
        token: gives random text for the cnonce.
        most_realms: how many realms are remembered.
        most_tries: how many challenges one request answers, so that a server with ever new realms ends it too.
    """

    def __init__(
        self, user: str, password: str, token: Callable[[], str], *, most_realms: int = 8, most_tries: int = 8
    ) -> None:
        self._user = user
        self._password = password
        self._token = token
        self._most_realms = most_realms
        self._most_tries = most_tries
        self._challenges: dict[tuple[bool, str], _Challenge] = {}

    def learn(self, response: IncomingResponse, tried: set[tuple[bool, str]]) -> bool:
        """Take the challenges of a 401 or 407. A proxy that forked puts those of both kinds into one answer (RFC 3261
        section 16.7), whatever its status.

        Args:
            response: the challenge.
            tried: realms that this request was already answered for; extended here.

        Returns:
            Whether trying again makes sense: there is a challenge that we can answer and have not, or a stale one.
        """
        if not self._user:
            return False
        found: dict[tuple[bool, str], tuple[_Challenge, bool]] = {}
        for name, proxy in (("Proxy-Authenticate", True), ("WWW-Authenticate", False)):
            for value in response.headers.getlist(name):
                for text in _split_challenges(value):
                    if (one := _read_challenge(text, proxy)) is not None:
                        # RFC 8760 section 2.4: the topmost that we speak
                        found.setdefault((proxy, one[0].realm), one)
        useful = False
        for key, (challenge, stale) in list(found.items())[: self._most_realms]:
            stale_key = (key[0], f"stale\0{key[1]}")
            if len(tried) >= self._most_tries or (key in tried and (not stale or stale_key in tried)):
                self._challenges.pop(key, None)
                return False
            tried.add(stale_key if key in tried else key)
            self._challenges.pop(key, None)
            while len(self._challenges) >= self._most_realms:
                self._challenges.pop(next(iter(self._challenges)))
            self._challenges[key] = challenge
            useful = True
        return useful

    def headers(self, method: str, uri: str, body: bytes = b"") -> list[tuple[str, str]]:
        """Return the Authorization and Proxy-Authorization headers for a request, one per known realm."""
        return [
            ("Proxy-Authorization" if one.proxy else "Authorization", self._credentials(one, method, uri, body))
            for one in self._challenges.values()
        ]

    def _credentials(self, one: _Challenge, method: str, uri: str, body: bytes) -> str:
        one.count += 1
        session = one.algorithm.upper().endswith(_SESSION)
        cnonce = self._token() if one.qop or session else ""
        if session:
            cnonce = one.session_cnonce = one.session_cnonce or cnonce
        nc = f"{one.count:08x}" if one.qop else ""
        response = digest_response(
            algorithm=one.algorithm, user=self._user, realm=one.realm, password=self._password, method=method, uri=uri,
            nonce=one.nonce, nc=nc, cnonce=cnonce, qop=one.qop, body=body,
        )  # fmt: skip
        text = (
            f"Digest username={quote(self._user)}, realm={quote(one.realm)}, nonce={quote(one.nonce)}, "
            f'uri={quote(uri)}, response="{response}", algorithm={one.algorithm}'
        )
        if one.qop:
            text += f", qop={one.qop}, nc={nc}"
        if cnonce:
            text += f', cnonce="{cnonce}"'
        if one.opaque is not None:
            text += f", opaque={quote(one.opaque)}"
        return text


_NEXT_CHALLENGE: Final = re.compile(r"\s*Digest\s", re.IGNORECASE)


def _split_challenges(value: str) -> list[str]:
    """Split a header line that holds several challenges; a piece that starts with the scheme starts a new one."""
    texts: list[str] = []
    try:
        pieces = split_list(value, ",")
    except RemoteProtocolError:
        return []
    for piece in pieces:
        if _NEXT_CHALLENGE.match(piece) or not texts:
            texts.append(piece.strip())
        else:
            texts[-1] += "," + piece
    return texts


def _read_challenge(text: str, proxy: bool) -> tuple[_Challenge, bool] | None:
    """Read a challenge; None when it is malformed or asks for what we do not speak."""
    try:
        params = parse_auth(text)
    except RemoteProtocolError:
        return None
    algorithm = params.get("algorithm", "MD5")
    base = algorithm.upper().removesuffix(_SESSION)
    offered = [one.strip().lower() for one in params.get("qop", "").split(",") if one.strip()]
    qop = next((one for one in ("auth", "auth-int") if one in offered), "")
    if base not in HASHES or not params.get("nonce") or (offered and not qop):
        return None
    challenge = _Challenge(
        clean(params.get("realm", "")), clean(params["nonce"]), algorithm, params.get("opaque"), qop, proxy,
    )  # fmt: skip
    return challenge, params.get("stale", "").lower() == "true"


def challenge_headers(realm: str, nonce: str, algorithms: Sequence[str], *, stale: bool) -> list[tuple[str, str]]:
    """Return the WWW-Authenticate headers of a 401, most preferred first (RFC 8760 section 2.4)."""
    suffix = ", stale=true" if stale else ""
    return [
        (
            "WWW-Authenticate",
            f'Digest realm={quote(realm)}, nonce="{nonce}", algorithm={algorithm}, qop="auth"{suffix}',
        )
        for algorithm in algorithms
    ]
