"""Digest authentication, the server's side: nonces that expire, replay refused."""

from __future__ import annotations

import enum
import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.protocol.sip.digest import HASHES, challenge_headers, digest_response

_NC: Final = re.compile(r"[0-9A-Fa-f]{8}")
_WINDOW: Final = 64  # how far behind the highest nonce count one may come late (UDP reorders)


@dataclass(frozen=True, slots=True)
class AuthLimits:
    """Limits of the digest server.

    Attributes:
        nonce_life_s: how long a nonce is good.
        max_nonces: most nonces whose counts are remembered.
    """

    nonce_life_s: float = 120.0
    max_nonces: int = 10_000


class Verdict(enum.Enum):
    """What came of checking credentials."""

    GOOD = "good"
    WRONG = "wrong"
    STALE = "stale"


class DigestServer:
    """Issues nonces and checks answers.

    A nonce is ``time-random-hmac``: nothing is kept for one that was only issued, so a flood of requests costs no
    memory. Once used, its counts are remembered until it expires. The HMAC covers the source address: a nonce is
    good only where it was sent to, so nobody can fail in another's name and have that source blocked.

    Args:
        secret: key of the nonces; random, per process.
        token: gives random text.
        limits: the limits.
    """

    def __init__(self, secret: bytes, token: Callable[[], str], limits: AuthLimits) -> None:
        self._secret = secret
        self._token = token
        self._limits = limits
        self._used: OrderedDict[str, tuple[int, int]] = (
            OrderedDict()
        )  # nonce → highest count, bitmap of those behind it
        self._forgotten_ms = -1

    def challenge(
        self, realm: str, algorithms: Sequence[str], source: str, now: float, *, stale: bool = False
    ) -> list[tuple[str, str]]:
        """Return the headers of a 401 for *source* (an IP address), one per algorithm."""
        stamp = f"{max(0, int(now * 1000)):x}"
        salt = self._token()
        nonce = f"{stamp}-{salt}-{self._mac(stamp, salt, realm, source)}"
        return challenge_headers(realm, nonce, algorithms, stale=stale)

    def _mac(self, stamp: str, salt: str, realm: str, source: str) -> str:
        text = "\0".join((stamp, salt, realm, source)).encode("utf-8", "surrogateescape")
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()[:32]

    def check(
        self,
        credentials: dict[str, str],
        *,
        method: str,
        user: str,
        password: str,
        realm: str,
        algorithms: Sequence[str],
        source: str,
        now: float,
    ) -> Verdict:
        """Check Digest credentials.

        Args:
            credentials: read by `parse_auth`.
            method: of the request.
            user: whom they must be of.
            password: the secret.
            realm: the realm we asked for.
            algorithms: those that we offered.
            source: IP address that they came from.
            now: monotonic seconds.
        """
        nonce = credentials.get("nonce", "")
        issued_ms = self._issued(nonce, realm, source)
        if issued_ms is None:
            return Verdict.STALE  # not ours, or from before a restart: a fresh nonce costs the peer one round trip
        algorithm = credentials.get("algorithm", "MD5").upper()
        qop, nc = credentials.get("qop", "").lower(), credentials.get("nc", "")
        well_formed = (
            algorithm in algorithms
            and algorithm in HASHES
            and credentials.get("realm") == realm
            and (not qop or (qop == "auth" and _NC.fullmatch(nc) is not None and bool(credentials.get("cnonce"))))
        )
        expected = digest_response(
            algorithm=algorithm if algorithm in HASHES else "MD5", user=user, realm=realm, password=password,
            method=method, uri=credentials.get("uri", ""), nonce=nonce, nc=nc, cnonce=credentials.get("cnonce", ""),
            qop=qop,
        )  # fmt: skip
        given = credentials.get("response", "").lower()
        right = hmac.compare_digest(expected.encode(), given.encode("utf-8", "surrogateescape"))
        right &= hmac.compare_digest(
            user.encode("utf-8", "surrogateescape"), credentials.get("username", "").encode("utf-8", "surrogateescape")
        )
        if not (right and well_formed):
            return Verdict.WRONG
        if now * 1000 - issued_ms > self._limits.nonce_life_s * 1000:
            return Verdict.STALE
        # without qop there is no count: such a nonce is good once
        return Verdict.GOOD if self._count(nonce, issued_ms, int(nc, 16) if qop else 1) else Verdict.STALE

    def _issued(self, nonce: str, realm: str, source: str) -> int | None:
        stamp, _, rest = nonce.partition("-")
        salt, _, mac = rest.rpartition("-")
        if not re.fullmatch(r"[0-9a-f]{1,16}", stamp):
            return None
        expected = self._mac(stamp, salt, realm, source)
        if not hmac.compare_digest(expected.encode(), mac.encode("utf-8", "surrogateescape")):
            return None
        return int(stamp, 16)

    def _count(self, nonce: str, issued_ms: int, count: int) -> bool:
        """Record a nonce count; False when it was used before or may have been."""
        known = self._used.get(nonce)
        if known is None:
            if issued_ms <= self._forgotten_ms or count == 0:
                return False  # a nonce of that age may have been used and dropped from the full table
            self._used[nonce] = (count, 1)
            while len(self._used) > self._limits.max_nonces:
                oldest, _ = self._used.popitem(last=False)
                self._forgotten_ms = max(self._forgotten_ms, int(oldest.partition("-")[0], 16))
            return True
        highest, seen = known
        if count > highest:
            shift = min(count - highest, _WINDOW)
            self._used[nonce] = (count, ((seen << shift) | 1) & ((1 << _WINDOW) - 1))
            return True
        behind = highest - count
        if count == 0 or behind >= _WINDOW or seen >> behind & 1:
            return False
        self._used[nonce] = (highest, seen | 1 << behind)
        return True
