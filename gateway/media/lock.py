"""Symmetric RTP with a source lock: from whom packets are taken, and where ours go.

The address in the peer's SDP always wins: its first packet locks the source. A peer behind a NAT sends from elsewhere,
so another source is believed when all of this holds:

- it sent `needed` packets in a row that fit together: one SSRC, negotiated payload types, sequence numbers going up;
- nothing came from the locked source, or, where there is none, from the address in the SDP, for a while.

How long a while is depends on what a stranger could know. Before anything was locked there is nothing to steal but a
call that is silent anyway: the packets themselves are enough. Once locked, the same SSRC from a new address is a NAT
that changed its mind (the SSRC is 32 random bits that a stranger does not see); another SSRC has to wait longer and
send more. While the peer may not send (hold), nobody new is believed. A re-INVITE that names another address starts
over, with the old source shut out while it still sends.

What this does not hold off: a stranger who hits the right port of a peer behind a NAT, in the moments before that peer
speaks, is heard until it falls silent. Ports that cannot be guessed, and SRTP, are what helps there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.protocol.rtp import HEADER

Address = tuple[str, int]

MAX_CANDIDATES: Final = 4  # a spray of sources must not cost memory; more than two are never honest


@dataclass(frozen=True, slots=True)
class LockRules:
    """When another source than the locked one is believed.

    Attributes:
        needed: packets in a row, before anything was locked. 3 cost 40 ms of the first word.
        same_ssrc_silence_s: silence of the locked source before its SSRC may come from elsewhere.
        other_needed: packets in a row with another SSRC.
        other_silence_s: silence of the locked source before another SSRC is believed. Longer than a phone's
            pause between comfort noise packets.
        moved_ban_s: seconds for which the source before a re-INVITE is not believed.
        candidate_age_s: seconds without a packet after which a candidate starts over.
    """

    needed: int = 3
    same_ssrc_silence_s: float = 0.5
    other_needed: int = 10
    other_silence_s: float = 3.0
    moved_ban_s: float = 2.0
    candidate_age_s: float = 0.5


@dataclass(slots=True)
class _Candidate:
    ssrc: int
    sequence: int
    count: int
    at_s: float


class SourceLock:
    """Who the peer is on one RTP port.

    Args:
        is_wanted: whether a packet is RTP of a negotiated payload type.
        stream: gives the SSRC that the locked source sends with.
        rules: when another source is believed.
    """

    __slots__ = (
        "_banned", "_banned_until_s", "_candidates", "_is_wanted", "_locked_at_s", "_rules", "_stream", "changes",
        "frozen", "locked", "signalled",
    )  # fmt: skip

    def __init__(
        self,
        is_wanted: Callable[[bytes], bool],
        stream: Callable[[], int | None],
        rules: LockRules | None = None,
    ) -> None:
        self.signalled: Address | None = None  # of the SDP
        self.locked: Address | None = None  # packets come from here
        self.frozen = False  # on hold: nobody new
        self.changes = 0  # times that a source not in the SDP was believed
        self._is_wanted = is_wanted
        self._rules = rules or LockRules()
        self._candidates: dict[Address, _Candidate] = {}
        self._locked_at_s = 0.0  # when the last packet of the locked source came
        self._stream = stream
        self._banned: Address | None = None
        self._banned_until_s = 0.0

    @property
    def target(self) -> Address | None:
        """Where our packets go: the locked source, before there is one the address in the SDP."""
        return self.locked or self.signalled

    def signal(self, address: Address | None, now_s: float) -> None:
        """The peer's SDP says *address*; None where it says none that can be used."""
        if address == self.signalled:
            return
        self._banned, self._banned_until_s = self.target, now_s + self._rules.moved_ban_s
        self.signalled = address
        self.locked = None
        self._candidates.clear()

    def heard(self, now_s: float) -> None:
        """A packet came from the locked source."""
        self._locked_at_s = now_s

    def admit(self, address: Address, packet: bytes, now_s: float) -> bool:
        """Whether *packet*, which came from *address* and not from the locked source, is taken.

        May lock onto *address*.
        """
        if address == self.signalled:
            if not self._is_wanted(packet):
                return False
            self._lock(address, now_s)
            return True
        if self.frozen or (address == self._banned and now_s < self._banned_until_s) or not self._is_wanted(packet):
            return False
        candidate = self._count(address, packet, now_s)
        if candidate is None:
            return False
        rules = self._rules
        if self.locked is None:
            needed, silence_s = rules.needed, 0.0
        elif candidate.ssrc == self._stream():
            needed, silence_s = rules.needed, rules.same_ssrc_silence_s
        else:
            needed, silence_s = rules.other_needed, rules.other_silence_s
        if candidate.count < needed or now_s - self._locked_at_s < silence_s:
            return False
        self.changes += 1
        self._lock(address, now_s)
        return True

    def _count(self, address: Address, packet: bytes, now_s: float) -> _Candidate | None:
        _, _, sequence, _, ssrc = HEADER.unpack_from(packet)
        candidate = self._candidates.get(address)
        if candidate is None:
            stale = [a for a, c in self._candidates.items() if now_s - c.at_s > self._rules.candidate_age_s]
            for old in stale:
                del self._candidates[old]
            if len(self._candidates) >= MAX_CANDIDATES:
                return None
            candidate = self._candidates[address] = _Candidate(ssrc, sequence, 1, now_s)
            return candidate
        step = (sequence - candidate.sequence) & 0xFFFF
        fits = ssrc == candidate.ssrc and 0 < step < 100 and now_s - candidate.at_s <= self._rules.candidate_age_s
        candidate.count = candidate.count + 1 if fits else 1
        candidate.ssrc, candidate.sequence, candidate.at_s = ssrc, sequence, now_s
        return candidate

    def _lock(self, address: Address, now_s: float) -> None:
        self.locked = address
        self._locked_at_s = now_s
        self._candidates.clear()
