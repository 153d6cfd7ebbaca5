"""Who may call, and what everybody else is told."""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.domain.errors import RemoteProtocolError
from gateway.protocol.sip.digest import DigestClient, parse_auth
from gateway.protocol.sip.digest_server import AuthLimits, DigestServer, Verdict
from gateway.protocol.sip.flow import Flow
from gateway.protocol.sip.message import IncomingRequest
from gateway.protocol.sip.sources import FailureLimit, KnownSources, Pace, SourceLimits, source_key
from gateway.protocol.sip.transactions import ServerTransaction, State, TransactionLayer

# what the tools of those who look for open gateways call themselves
_SCANNER: Final = re.compile(
    r"friendly-(scanner|request)|sipvicious|sundayddr|sip-?scan|sipcli|vaxsipuseragent|pplsip|sivus|\biwar\b|\bsmap\b",
    re.IGNORECASE,
)
_MOST_NAME: Final = 64  # of a username, in a table that strangers fill


@dataclass(frozen=True, slots=True)
class CoreEndpoint:
    """One account, as the core sees it.

    Attributes:
        id: its name here.
        listener: key of the listener that its calls come in by; 0 for none.
        shared: keys of further listeners, which all accounts share.
        auth: credentials for what the PBX asks of us.
        contact_user: user part of Contact.
        gruu: Contact of calls from the PBX's addresses; empty: the address that each came to.
        realm: realm of our challenges.
        listen_user: whom callers must be; empty: only *sources* may call.
        listen_secret: and their secret.
        algorithms: digest algorithms offered to callers, most preferred first.
        sources: IP addresses of the PBX.
        available: False answers OPTIONS and INVITE with 503.
        retry_after_s: the Retry-After of those.
        unavailable_text: the Reason text of those.
    """

    id: int
    listener: int
    auth: DigestClient
    contact_user: str = ""
    realm: str = "ponte"
    listen_user: str = ""
    listen_secret: str = field(default="", repr=False)
    algorithms: Sequence[str] = ("MD5",)
    sources: frozenset[str] = frozenset()
    available: bool = True
    retry_after_s: int = 10
    unavailable_text: str = ""
    shared: frozenset[int] = frozenset()
    gruu: str = ""


class Strangers(enum.StrEnum):
    """What is done with those who are neither a PBX's address nor proved a password lately.

    Attributes:
        ANSWER: they are answered as RFC 3261 has it.
        DROP_SCANNERS: those who call themselves as scanners do are not answered at all.
        SILENT: nobody is told anything but the challenge that a caller needs.
    """

    ANSWER = "answer"
    DROP_SCANNERS = "drop_scanners"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What somebody who may not call is answered.

    Attributes:
        status: 0: nothing.
        headers: more headers.
        repeat: whether the answer may be kept and sent again until its ACK comes: only for whom we know, since anybody
            can write another's address into a datagram.
    """

    status: int
    headers: Sequence[tuple[str, str]] = ()
    repeat: bool = False


class Guard:
    """Lets callers in by password or address. What it remembers of strangers is bounded.

    Args:
        secret: random key of the nonces.
        token: gives random text.
        auth: limits of nonces.
        sources: limits of sources.
        strangers: what strangers are told.
        counts: where outcomes are counted.
    """

    def __init__(
        self, secret: bytes, token: Callable[[], str], auth: AuthLimits, sources: SourceLimits, strangers: Strangers,
        counts: Counter[str],
    ) -> None:  # fmt: skip
        self._nobody = secret.hex()
        self._digest = DigestServer(secret, token, auth)
        self._failures = FailureLimit(sources)
        self._pace = Pace(sources)
        self._proved = KnownSources(sources)
        self._strangers = strangers
        self._counts = counts
        self._trusted: frozenset[str] = frozenset()
        self._passwords: frozenset[tuple[str, str]] = frozenset()

    def serve(self, endpoints: Collection[CoreEndpoint]) -> None:
        """Take the endpoints that there are now."""
        self._trusted = frozenset(host for one in endpoints for host in one.sources)
        passwords = frozenset((one.listen_user, one.listen_secret) for one in endpoints if one.listen_user)
        if passwords - self._passwords:
            self._failures.forgive()  # who mends a password is not kept waiting for the end of a block
        self._passwords = passwords

    def knows(self, host: str, now: float) -> bool:
        """Return whether *host* is a PBX's address or proved a password lately."""
        return host in self._trusted or self._proved.has(source_key(host), now)

    def hears(self, request: IncomingRequest, host: str, now: float) -> bool:
        """Return whether a request outside every dialog is looked at; False for a scanner's."""
        if self._strangers is Strangers.ANSWER or self.knows(host, now):
            return True
        names = (request.header("User-Agent") or "", request.from_.name)
        if any(_SCANNER.search(name) for name in names if name):
            self._counts["dropped_scanner"] += 1
            return False
        return True

    def may_answer(self, status: int, host: str, now: float) -> bool:
        """Return whether *host* gets a stateless answer, and count it against its pace."""
        if self.knows(host, now):
            return True
        if self._strangers is Strangers.SILENT and status != 401:
            self._counts["dropped_stranger"] += 1
            return False
        if not self._pace.take(source_key(host), now):
            self._counts["dropped_pace"] += 1
            return False
        return True

    def admit(
        self, request: IncomingRequest, here: Sequence[CoreEndpoint], host: str, now: float
    ) -> CoreEndpoint | Refusal:
        """Return the endpoint whose caller this is, or how it is refused; for any method but ACK and CANCEL.

        Args:
            request: what came, outside every dialog.
            here: the endpoints that listen where it came.
            host: the address that it came from.
            now: monotonic seconds.
        """
        protected = [one for one in here if one.listen_user]
        credentials = _credentials(request, {one.realm for one in protected})
        if not protected or (credentials is None and not any(host in one.sources for one in protected)):
            trusted = [one for one in here if not one.listen_user and host in one.sources]
            if len(trusted) == 1:
                return trusted[0]
        if not protected:
            self._counts["refused_source"] += 1
            return Refusal(403)
        source = source_key(host)
        known = self.knows(host, now)
        name = credentials.get("username", "") if credentials else ""
        # behind one address that we know there may be many users: one that fails must not shut the others out
        key = (source, name[:_MOST_NAME]) if known else source
        if self._failures.blocked(key, now):
            self._counts["auth_blocked"] += 1
            return Refusal(403)
        if credentials is None:
            return self._challenge(protected[0], host, now)
        # two on a shared listener with one name cannot be told apart: nobody is let in
        same = [one for one in protected if one.listen_user == name]
        found = same[0] if len(same) == 1 else None
        # a name that we do not know costs the same work as one that we do
        user, secret = (found.listen_user, found.listen_secret) if found else (name, self._nobody)
        first = protected[0]
        verdict = self._digest.check(
            credentials, method=request.method, user=user, password=secret, realm=first.realm, source=host, now=now,
            algorithms=first.algorithms,
        )  # fmt: skip
        self._counts[f"auth_{verdict.value}"] += 1
        if verdict is Verdict.GOOD and found is not None:
            self._proved.add(source, now)
            return found
        if verdict is Verdict.WRONG:
            # a stranger behind the address of a known one (a proxy, a NAT) must not lock it out for long
            self._failures.failed(key, now, grows=not known)
            if self._strangers is Strangers.SILENT and not known:
                return Refusal(0)
        return self._challenge(first, host, now, stale=verdict is Verdict.STALE)

    def _challenge(self, endpoint: CoreEndpoint, host: str, now: float, *, stale: bool = False) -> Refusal:
        self._counts["challenges"] += 1
        headers = self._digest.challenge(endpoint.realm, endpoint.algorithms, host, now, stale=stale)
        return Refusal(401, headers, self._proved.has(source_key(host), now))


class KeptChallenges:
    """Challenges that are sent again until their ACK comes, a few at a time.

    Without state INVITE and 401 must both get through in one of the caller's few tries.

    Args:
        layer: where their transactions live.
        most: how many may wait for their ACK.
    """

    def __init__(self, layer: TransactionLayer, most: int) -> None:
        self._layer = layer
        self._most = most
        self._waiting: list[ServerTransaction] = []

    def serve(self, request: IncomingRequest, flow: Flow, now: float) -> ServerTransaction | None:
        """Return the transaction of a challenged INVITE, or None when it is to be answered without state."""
        if len(self._waiting) >= self._most:
            self._waiting = [one for one in self._waiting if one.state is State.COMPLETED]
        if request.method != "INVITE" or len(self._waiting) >= self._most or self._layer.full:
            return None
        transaction = self._layer.serve(request, flow, now, merges=False)
        self._waiting.append(transaction)
        return transaction


def _credentials(request: IncomingRequest, realms: Collection[str]) -> dict[str, str] | None:
    """Return the credentials for one of our *realms*; those for others are for others (RFC 3261 section 22.2)."""
    for value in request.headers.getlist("Authorization"):
        try:
            found = parse_auth(value)
        except RemoteProtocolError:
            continue
        if found.get("realm") in realms:
            return found
    return None
