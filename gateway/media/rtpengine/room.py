"""One call at rtpengine: a page's leg and the SIP peers that are connected to it, one after the other.

rtpengine pairs an offerer with an answerer. The page's leg has to be there before any SIP peer is known, and a SIP peer
has to be offered ports while the page still talks to another one (a transfer, several phones that ring). So each is
first paired with a stand-in that never sends, and for a call the page's leg and the peer are paired with each other.
Ports stay as they are at that ("port latching"), so nobody has to be told of it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from gateway.domain.errors import PonteError, RemoteProtocolError
from gateway.media.rtpengine.client import NgClient
from gateway.media.rtpengine.sdp import PROFILES, PageAnswer, Way
from gateway.protocol.ng.bencode import Value
from gateway.protocol.ng.requests import Answer

if TYPE_CHECKING:
    from gateway.media.rtpengine.session import SipSession

_FLAGS: Final = ("trust-address", "port-latching")


@dataclass(frozen=True, slots=True)
class Interfaces:
    """Names of rtpengine's logical interfaces (``--interface=NAME/…``); empty: its default.

    Attributes:
        page: towards pages.
        sip: towards SIP peers.
    """

    page: str = ""
    sip: str = ""


@dataclass(frozen=True, slots=True)
class PageEnd:
    """The page's leg in a room.

    Attributes:
        tag: its name.
        answer: what the page answered.
    """

    tag: str
    answer: PageAnswer


@dataclass(slots=True)
class Room:
    """One call at rtpengine.

    Attributes:
        page: the page's leg that calls use, None while there is none.
        sessions: SIP peers that are in it.
        used: how many have been.
        offered_legs: legs of pages in it that are not closed.
        lost: rtpengine does not know it any more.
        want_opus: asks for a leg of the page that has this payload type for Opus; the one that is there ends.
    """

    client: NgClient
    interfaces: Interfaces
    name: str = field(default_factory=lambda: f"ponte-{secrets.token_hex(12)}")
    page: PageEnd | None = None
    sessions: set[SipSession] = field(default_factory=set)
    used: int = 0
    offered_legs: int = 0
    lost: bool = False
    want_opus: Callable[[int], None] = lambda number: None
    _tags: int = 0

    def new_tag(self) -> int:
        """Return a number that no tag in this room has yet."""
        self._tags += 1
        return self._tags

    async def ask(self, command: str, **fields: Value) -> Answer:
        """Ask rtpengine for something of this call; see `NgClient.request`."""
        return await self.client.request(command, call_id=self.name, **fields)

    async def offer_page(self, from_tag: str, sdp: str) -> str:
        """Return rtpengine's offer to the page, beside the stand-in *from_tag*, whose name the branch has too."""
        fields: dict[str, Value] = {**_secure("webrtc", mux=True), "flags": [*_FLAGS, "generate-mid"]}
        fields["via-branch"] = from_tag
        return _sdp(await self.ask("offer", from_tag=from_tag, sdp=sdp, **fields, **self._direction(to_page=True)))

    async def offer_sip(
        self,
        from_tag: str,
        to_tag: str | None,
        sdp: str,
        way: Way,
        *,
        mux: bool,
        transcode: tuple[str, ...] = (),
        branch: str | None = None,
    ) -> str:
        """Return rtpengine's offer to a SIP peer.

        Args:
            from_tag: the stand-in, or the page's leg.
            to_tag: the peer, where it has answered before.
            sdp: of *from_tag*.
            way: how packets travel to the peer.
            mux: RTCP on the port of RTP.
            transcode: codecs of the peer that *from_tag* does not know.
            branch: its name before it answered; rtpengine takes all peers without one for the same.
        """
        fields: dict[str, Value] = {**_secure(way, mux=mux), "flags": [*_FLAGS]}
        if to_tag is not None:
            fields["to-tag"] = to_tag
        if branch is not None:
            fields["via-branch"] = branch
        if transcode:
            fields["codec"] = {"transcode": list(transcode)}
        return _sdp(await self.ask("offer", from_tag=from_tag, sdp=sdp, **fields, **self._direction(to_page=False)))

    async def answer(self, from_tag: str, to_tag: str, sdp: str, *, branch: str | None = None) -> None:
        """Tell rtpengine that *to_tag* answered the last offer of *from_tag* (in *branch*) with *sdp*."""
        fields: dict[str, Value] = {} if branch is None else {"via-branch": branch}
        await self.ask("answer", from_tag=from_tag, to_tag=to_tag, sdp=sdp, flags=[*_FLAGS], **fields)

    async def query(self, tag: str) -> Answer:
        """Return what rtpengine knows of *tag* and of whom it talks to."""
        return await self.ask("query", from_tag=tag)

    async def delete(self, tag: str, *, branch: str | None = None) -> None:
        """Free the ports of *tag* and of its stand-in. Of a page's leg rtpengine would free all whom it hears."""
        fields: dict[str, Value] = {} if branch is None else {"via-branch": branch}
        await self.ask("delete", from_tag=tag, delete_delay=0, **fields)

    async def leave(self) -> None:
        """End the whole call when nobody is in it any more; what rtpengine says to that does not matter."""
        if self.sessions or self.offered_legs or self.lost:
            return
        self.lost = True
        try:
            await self.ask("delete", delete_delay=0)
        except PonteError as error:
            structlog.get_logger("ponte.rtpengine").info("rtpengine_delete_failed", code=error.code)

    def _direction(self, *, to_page: bool) -> dict[str, Value]:
        page, sip = self.interfaces.page, self.interfaces.sip
        if not (page or sip):
            return {}
        return {"direction": [sip, page] if to_page else [page, sip]}


def _secure(way: Way, *, mux: bool) -> dict[str, Value]:
    fields: dict[str, Value] = {"transport-protocol": PROFILES[way]}
    if way == "webrtc":
        return fields | {"ICE": "force", "SDES": ["off"], "rtcp-mux": ["require"]}
    fields |= {"ICE": "remove", "rtcp-mux": ["offer"] if mux else ["demux"]}
    return fields | {"DTLS": "off"} if way == "sdes" else fields


def _sdp(answer: Answer) -> str:
    sdp = answer.get("sdp")
    if not isinstance(sdp, str):
        raise RemoteProtocolError("rtpengine answered an offer without SDP")
    return sdp
