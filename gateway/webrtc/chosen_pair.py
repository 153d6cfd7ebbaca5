"""Which pair of addresses packets go over, once ICE has chosen one: consent for it, and another when it is gone."""

from __future__ import annotations

import asyncio
import random
from typing import Any, Final

import aioice.ice
import aioice.stun
import structlog

CONSENT_INTERVAL_S: Final = 5.0
"""How often the peer is asked, a fifth more or less (RFC 7675 section 5.1)."""

_CONSENT_LASTS_S: Final = 30.0
_MOVED_PACKETS: Final = 10  # a fifth of a second of sound


class ChosenPair:
    """The chosen pair of one aioice connection, which holds it under private names: see `NAMES`.

    A browser leaves a pair whose interface goes (a VPN, a container's bridge) at once and without a word, though the
    choice is the controlling side's (RFC 8445 section 8.1.1). aioice keeps to it until consent for it runs out, and
    half a minute of a call is lost. So the peer is followed: to where its packets come from, and, while none come, to
    where it answers.

    Args:
        connection: aioice's; its own consent checks are not run.
        interval_s: how often the peer is asked whether it still wants packets.
    """

    NAMES: Final = ("_check_list", "_nominated", "_query_consent_task", "build_request", "query_consent")

    def __init__(self, connection: Any, interval_s: float = CONSENT_INTERVAL_S) -> None:
        self._connection = connection
        self._interval_s = interval_s
        self._log = structlog.get_logger()
        self._heard: tuple[Any, Any] = (None, None)  # protocol and address of what came over the chosen pair
        self._elsewhere = 0  # packets in a row that came over another one
        self._moving: asyncio.Task[bool] | None = None
        connection.query_consent = self._keep_consent

    def changed(self) -> None:
        """Note that there is another chosen pair than before."""
        self._heard = (None, None)

    def came(self, protocol: Any, address: Any) -> None:
        """Note that a packet that only the peer can have sent came to *protocol* from *address*."""
        heard = self._heard
        if heard[0] is protocol and heard[1] == address:
            self._elsewhere = 0
        else:
            self._came_elsewhere(protocol, address)

    def _came_elsewhere(self, protocol: Any, address: Any) -> None:
        chosen = self._connection._nominated.get(1)
        if chosen is not None and _is_over(chosen, protocol, address):
            self._heard = (protocol, address)
            self._elsewhere = 0
            return
        self._elsewhere += 1
        if self._elsewhere % _MOVED_PACKETS == 0 and self._moving is None and self._connection.ice_controlling:
            found = next((one for one in self._others() if _is_over(one, protocol, address)), None)
            if found is not None:
                self._moving = asyncio.get_running_loop().create_task(self._ask(found))
                self._moving.add_done_callback(self._asked)

    def _asked(self, task: asyncio.Task[bool]) -> None:
        self._moving = None

    def _others(self) -> list[Any]:
        """Return the pairs that were found to work, but for the chosen one."""
        connection, valid = self._connection, aioice.ice.CandidatePair.State.SUCCEEDED
        chosen = connection._nominated.get(1)
        return [one for one in connection._check_list if one.state is valid and one is not chosen]

    async def _ask(self, pair: Any) -> bool:
        """Ask the peer over *pair*, once; where it answers, and the choice is ours, that pair is the chosen one."""
        connection = self._connection
        choose = connection.ice_controlling and pair is not connection._nominated.get(1)
        request = connection.build_request(pair, nominate=choose)
        key = connection.remote_password.encode()
        try:
            await pair.protocol.request(request, pair.remote_addr, integrity_key=key, retransmissions=0)
        except aioice.stun.TransactionError:
            return False
        if choose and connection._nominated:
            connection._nominated[1] = pair
            self._elsewhere = 0
            self._log.info("webrtc.moved")
        return True

    async def _keep_consent(self) -> None:
        """Ask every few seconds whether the peer still wants packets; end the session where it does not (RFC 7675)."""
        connection, now_s = self._connection, asyncio.get_running_loop().time
        answered_s = now_s()
        while now_s() - answered_s < _CONSENT_LASTS_S:
            await asyncio.sleep(self._interval_s * random.uniform(0.8, 1.2))
            others = self._others() if connection.ice_controlling else []
            for pair in [*connection._nominated.values(), *others]:  # the chosen one first
                if await self._ask(pair):
                    answered_s = now_s()
                    break
        connection._query_consent_task = None  # it must not be cancelled by what it calls
        await connection.close()

    async def close(self) -> None:
        """End what is being asked."""
        if self._moving is not None:
            self._moving.cancel()
            await asyncio.wait([self._moving])


def _is_over(pair: Any, protocol: Any, address: Any) -> bool:
    return pair.protocol is protocol and pair.remote_addr == address[:2]  # an IPv6 address is given with two more
