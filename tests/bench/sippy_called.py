"""The yardstick: sippy's user agent taking every call with digest, 180 and 200, in a virtual environment of its own.

The same protocol as `tests.bench.called`: one JSON line with the port, then one with the figures for each line read.
"""

# mypy: ignore-errors
from __future__ import annotations

import gc
import json
import os
import resource
import sys
import threading

from sippy.CCEvents import CCEventConnect, CCEventRing, CCEventTry
from sippy.Core.EventDispatcher import ED2
from sippy.MsgBody import MsgBody
from sippy.SipConf import SipConf
from sippy.SipContact import SipContact
from sippy.SipHeader import SipHeader
from sippy.SipTransactionManager import SipTransactionManager
from sippy.SipWWWAuthenticate import SipWWWAuthenticate
from sippy.Time.Timeout import Timeout
from sippy.UA import UA

PICK_UP_S = 0.05
SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40002 RTP/AVP 0\r\n"


class Silent:
    """In place of a logger that writes each message to a file, which ours does not do either."""

    def write(self, *_args, **_kwargs) -> None:
        pass


class Called:
    def __init__(self, port: int) -> None:
        self.config = {"_sip_address": "127.0.0.1", "_sip_port": port, "_sip_logger": Silent()}
        SipConf.my_address, SipConf.my_port = "127.0.0.1", port
        self.live = self.ended = 0
        self.calls = set()
        self.config["_sip_tm"] = SipTransactionManager(self.config, self.on_request)

    def on_request(self, request, transaction):
        if request.getHFBody("to").getTag() is not None:
            return request.genResponse(481, "Call Leg/Transaction Does Not Exist"), None, None
        if request.getMethod() != "INVITE":
            return request.genResponse(501, "Not Implemented"), None, None
        if request.countHFs("authorization") == 0:
            # as ours asks: MD5 with qop, and a nonce that can be checked
            challenge = SipHeader(body=SipWWWAuthenticate(realm="ponte", algorithm="MD5"))
            response = request.genResponse(401, "Unauthorized")
            response.appendHeader(challenge)
            return response, None, None
        given = request.getHFBody("authorization")
        if not given.parsed:
            given.parse()
        if given.username != "pbx" or not given.verify("geheim", "INVITE"):
            return request.genResponse(403, "Forbidden"), None, None
        agent = UA(self.config, self.on_event, disc_cbs=(self.on_end,), dead_cbs=(self.on_dead,))
        agent.lContact = SipContact()
        agent.lContact.getUri().name = None  # SIPp takes a display name for a part of the URI
        self.calls.add(agent)
        return agent.recvRequest(request, transaction)

    def on_event(self, event, agent):
        if isinstance(event, CCEventTry):
            agent.recvEvent(CCEventRing((180, "Ringing", None)))
            Timeout(self.pick_up, PICK_UP_S, 1, agent)

    def pick_up(self, agent):
        agent.recvEvent(CCEventConnect((200, "OK", MsgBody(SDP))))
        self.live += 1

    def on_end(self, *_args):
        self.live -= 1
        self.ended += 1

    def on_dead(self, agent):
        self.calls.discard(agent)


def figures(called: Called) -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    with open("/proc/self/statm") as statm:
        rss = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    shown = {"cpu_s": usage.ru_utime + usage.ru_stime, "rss_bytes": rss}
    print(json.dumps({**shown, "live": called.live, "ended": called.ended, "faults": []}), flush=True)


def listen(called: Called) -> None:
    for line in sys.stdin:
        if line.strip() == "collect":
            ED2.callFromThread(gc.collect)
        ED2.callFromThread(figures, called)
    os._exit(0)


def main() -> None:
    called = Called(int(sys.argv[1]))
    threading.Thread(target=listen, args=(called,), daemon=True).start()
    print(json.dumps({"port": int(sys.argv[1])}), flush=True)
    ED2.loop()


if __name__ == "__main__":
    main()
