"""A user agent on PJSIP, the stack of Asterisk's chan_pjsip, for `tests/integration/sip/test_pjsip.py`.

Runs under a virtual environment of its own, which `make pjsip` makes. Tells on standard output, one JSON line each,
what happens. A call is put on hold, taken up, updated and hung up; one that it places also sends the key 5.
"""

# mypy: ignore-errors
from __future__ import annotations

import argparse
import json
import os
import time

import pjsua2 as pj

WAIT_S = 10


def say(**event: object) -> None:
    print(json.dumps(event), flush=True)


class Call(pj.Call):
    states: tuple[str, ...] = ()
    directions: tuple[int, ...] = ()

    def onCallState(self, _prm) -> None:
        info = self.getInfo()
        self.states += (info.stateText,)
        say(state=info.stateText, status=info.lastStatusCode)

    def onCallMediaState(self, _prm) -> None:
        info = self.getInfo()  # owns what it lists: without a name it is gone too early
        if info.media[0].status == pj.PJSUA_CALL_MEDIA_ACTIVE:
            # nothing is sent, keys neither, by a call whose audio is joined to nothing
            devices, audio = pj.Endpoint.instance().audDevManager(), self.getAudioMedia(-1)
            devices.getCaptureDevMedia().startTransmit(audio)
            audio.startTransmit(devices.getPlaybackDevMedia())
        self.directions += (info.media[0].dir,)


class Account(pj.Account):
    call: Call | None = None
    ring_status = 180

    def onIncomingCall(self, prm) -> None:
        self.call = Call(self, prm.callId)
        answer = pj.CallOpParam()
        for status in (self.ring_status, 200):
            answer.statusCode = status
            self.call.answer(answer)


class Peer:
    def __init__(self, options: argparse.Namespace) -> None:
        self.keys = options.keys
        self.endpoint = pj.Endpoint()
        self.endpoint.libCreate()
        config = pj.EpConfig()
        config.logConfig.level = config.logConfig.consoleLevel = 0
        config.uaConfig.threadCnt = 0
        config.uaConfig.mainThreadOnly = True
        config.medConfig.noVad = True  # silence is sent too, so that a key does not fall into a pause
        self.endpoint.libInit(config)
        self.endpoint.audDevManager().setNullDev()
        for kind in (pj.PJSIP_TRANSPORT_UDP, pj.PJSIP_TRANSPORT_TCP):
            transport = pj.TransportConfig()
            transport.boundAddress = "127.0.0.1"
            self.endpoint.transportCreate(kind, transport)
        self.endpoint.libStart()
        account = pj.AccountConfig()
        account.idUri = "sip:1000@127.0.0.1"
        account.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", "pbx", 0, "geheim"))
        account.callConfig.timerUse = pj.PJSUA_SIP_TIMER_ALWAYS
        account.callConfig.prackUse = pj.PJSUA_100REL_MANDATORY if options.prack else pj.PJSUA_100REL_OPTIONAL
        account.mediaConfig.srtpUse = pj.PJMEDIA_SRTP_MANDATORY if options.srtp else pj.PJMEDIA_SRTP_DISABLED
        account.mediaConfig.srtpSecureSignaling = 0
        account.mediaConfig.transportConfig.port = options.media_port
        account.mediaConfig.transportConfig.boundAddress = "127.0.0.1"
        self.account = Account()
        self.account.ring_status = options.ring
        self.account.create(account)

    def until(self, seen) -> bool:
        end = time.monotonic() + WAIT_S
        while not seen():
            if time.monotonic() > end:
                return False
            self.endpoint.libHandleEvents(20)
        return True

    def change(self, call: Call, what: str, act) -> None:
        before = len(call.directions)
        act()
        say(change=what, done=self.until(lambda: len(call.directions) > before), direction=call.directions[-1])

    def place(self, uri: str) -> None:
        call = Call(self.account)
        call.makeCall(uri, pj.CallOpParam(True))
        self.run(call, self.keys)

    def take(self) -> None:
        say(port=int(self.endpoint.transportGetInfo(0).localAddress.rpartition(":")[2]))
        self.until(lambda: self.account.call is not None)
        self.run(self.account.call, "")

    def run(self, call: Call, keys: str) -> None:
        self.until(lambda: {"CONFIRMED", "DISCONNECTED"} & set(call.states))
        taken_up = pj.CallOpParam(True)
        taken_up.opt.flag = pj.PJSUA_CALL_UNHOLD
        self.change(call, "hold", lambda: call.setHold(pj.CallOpParam(True)))
        self.change(call, "resume", lambda: call.reinvite(taken_up))
        self.change(call, "update", lambda: call.update(pj.CallOpParam(True)))
        if keys:
            key = pj.CallSendDtmfParam()
            key.digits = "5"
            key.method = pj.PJSUA_DTMF_METHOD_SIP_INFO if keys == "info" else pj.PJSUA_DTMF_METHOD_RFC2833
            call.sendDtmf(key)
            end = time.monotonic() + 1.0  # the length of the key, and until it has been played
            self.until(lambda: time.monotonic() > end)
        call.hangup(pj.CallOpParam(True))
        self.until(lambda: call.states[-1] == "DISCONNECTED")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--call", default="", help="URI; without it a call is waited for")
    parser.add_argument("--media-port", type=int, required=True)
    parser.add_argument("--ring", type=int, default=180)
    parser.add_argument("--keys", choices=("info", "event"), default="event")
    parser.add_argument("--prack", action="store_true")
    parser.add_argument("--srtp", action="store_true")
    options = parser.parse_args()
    peer = Peer(options)
    if options.call:
        peer.place(options.call)
    else:
        peer.take()
    os._exit(0)  # the library's own end takes a second


if __name__ == "__main__":
    main()
