// The calling stack: what happens on the line, turned into states of the active call. In the real page this is
// WebAssembly with workers around it; what it does to the rest of the page is the same.
__d("WAWebVoipBridgeCallStateHandlers", ["WAWebCallCollection", "WAWebCallModel"], function (t, n, r, o, a, i, l) {
  // The order is the real one: a call is made active before it has a state, and is no longer active after its last.
  // Where the state comes late, None stands in its place until then.
  l.setCallState = (info, state) => {
    const calls = r("WAWebCallCollection");
    const { isCallTerminal, isCallConnected } = o("WAWebVoipCallStateUtils");
    if (calls.activeCall === null) {
      if (isCallTerminal(state)) {
        return null;
      }
      const late = info.lateStateMs > 0;
      const call = new (r("WAWebCallModel"))(info.id, late ? o("WAWebVoipWaCallEnums").CallState.None : null);
      call.peerJid = info.peerJid;
      call.isVideo = info.isVideo;
      call.isGroup = info.isGroup;
      call.groupJid = info.isGroup ? info.peerJid : null;
      call.outgoing = info.outgoing;
      call.offerTime = Math.floor(Date.now() / 1000);
      calls.setActiveCall(call);
      if (late) {
        setTimeout(() => l.setCallState({ ...info, lateStateMs: 0 }, info.currentState()), info.lateStateMs);
        return call;
      }
    }
    const call = calls.activeCall;
    if (call.id !== info.id) {
      return null;
    }
    call.setState(state);
    calls.setIsInConnectedCall(isCallConnected(state));
    if (isCallTerminal(state)) {
      calls.setActiveCall(null);
    }
    return call;
  };
});

__d("WAWebVoipStackInterface", ["WAWebServerLink", "WAWebVoipCallAudio"], function (t, n, r, o, a, i, l) {
  const states = o("WAWebVoipWaCallEnums").CallState;
  const results = o("WAWebVoipWaCallEnums").CallLogResult;
  const reasons = o("WAWebVoipSignalingEnums").EndCallReason;
  const link = () => o("WAWebServerLink");
  let call = null; // the stack's own view of the one call
  let messageTimer = null;

  function show(state) {
    call.state = state;
    if (call.shown) {
      o("WAWebVoipBridgeCallStateHandlers").setCallState(call.info, state);
    }
    report();
  }

  function report() {
    link().send({
      type: "report",
      call: call && { id: call.info.id, state: call.state, taken_with: call.takenWith, ...call.audio?.describe() },
      ringtone: o("WAWebCallRingtone").describe(),
      messages: o("WAWebMessageSound").describe(),
    });
  }

  function begin(message, outgoing) {
    const current = {
      state: outgoing ? states.Calling : states.ReceivedCall,
      audio: null,
      accepting: false, // the user has taken it
      accepted: false, // both sides have
      connected: false, // the audio line stands
      takenWith: null, // what of sound and picture this side gave
      declined: false,
      shown: true,
      info: {
        id: message.id,
        peerJid: o("WAWebWidFactory").createWid(message.jid),
        isVideo: Boolean(message.video),
        isGroup: Boolean(message.group),
        outgoing,
        lateStateMs: link().session.settings.late_state_ms,
        currentState: () => current.state,
      },
    };
    call = current;
    o("WAWebVoipBridgeCallStateHandlers").setCallState(call.info, call.state);
    report();
  }

  function startAudio() {
    const current = call;
    current.audio = new (o("WAWebVoipCallAudio").CallAudio)(current.info.id, () => {
      current.connected = true;
      goActive(current);
    });
    return current.audio.start();
  }

  function goActive(current) {
    if (call === current && current.accepted && current.connected && current.state !== states.CallActive) {
      show(states.CallActive);
      link().send({ type: "active", id: current.info.id });
      if (link().session.settings.message_sounds) {
        messageTimer = setInterval(() => o("WAWebMessageSound").play(), 1700);
      }
    }
  }

  function finish(result, failedReason) {
    if (call === null) {
      return;
    }
    clearInterval(messageTimer);
    const ended = call;
    ended.audio?.close();
    // The ring tone of a call that was never answered is known to go on by itself.
    const unanswered = !ended.info.outgoing && !ended.accepting && !ended.declined;
    if (!(unanswered && link().session.settings.ring_tone_sticks)) {
      o("WAWebCallRingtone").stopCallRingtone();
    }
    const active = r("WAWebCallCollection").activeCall;
    if (active?.id === ended.info.id) {
      active.callFailedReason = failedReason ?? active.callFailedReason;
      // It comes with an event of its own, and nobody says that this is not slower than the last state.
      const late = link().session.settings.late_result_ms;
      if (late > 0) {
        setTimeout(() => (active.callLogResult = result), late);
      } else {
        active.callLogResult = result;
      }
    }
    show(states.CallStateEnding);
    call = null;
    report();
  }

  async function withMicrophone(work) {
    const current = call;
    try {
      await work;
    } catch (error) {
      if (call === current) {
        const denied = ["NotFoundError", "NotAllowedError", "NotReadableError"].includes(error.name);
        link().send({
          type: "terminate",
          id: current.info.id,
          reason: denied ? reasons.MicPermissionDenied : reasons.Unknown,
          detail: `${error.name}: ${error.message}`,
        });
        finish(results.Failed, error.name);
      }
      throw error;
    }
  }

  const stack = {
    type: "web",

    async acceptCall(withAudio, withVideo) {
      if (call === null || call.info.outgoing || call.accepted || call.accepting) {
        throw new Error("no call to accept");
      }
      const current = call;
      current.accepting = true;
      current.takenWith = { audio: withAudio, video: withVideo };
      o("WAWebCallRingtone").stopCallRingtone();
      show(states.AcceptSent);
      await withMicrophone(startAudio());
      if (call === current) {
        link().send({ type: "accept", id: current.info.id });
      }
    },

    async rejectCall() {
      if (call === null || call.info.outgoing || call.accepting) {
        throw new Error("no call to reject");
      }
      call.declined = true;
      link().send({ type: "reject", id: call.info.id });
      finish(results.Rejected);
    },

    async endCall(reason, _sendTerminate) {
      if (call === null) {
        return;
      }
      call.declined = true;
      link().send({ type: "terminate", id: call.info.id, reason });
      finish(call.accepted ? results.Connected : results.Canceled);
    },

    async startCall(peer, isVideo) {
      if (call !== null) {
        throw new Error("another call is active");
      }
      const id = [...crypto.getRandomValues(new Uint8Array(16))]
        .map((byte) => byte.toString(16).padStart(2, "0")).join("").toUpperCase();
      begin({ id, jid: peer.toString(), video: isVideo }, true);
      const current = call;
      await withMicrophone(startAudio());
      if (call === current) {
        link().send({ type: "offer", id, to: peer.toString(), video: isVideo });
      }
    },

    async setCallMute(muted) {
      for (const track of call?.audio?.stream?.getAudioTracks() ?? []) {
        track.enabled = !muted;
      }
    },
  };

  const handlers = {
    offer(message) {
      if (call !== null) {
        link().send({ type: "reject", id: message.id, reason: "busy" });
        return;
      }
      o("WAWebVoipIncomingOffer").learnPeer(message);
      begin(message, false);
      o("WAWebCallRingtone").startCallRingtone();
      report();
    },
    preaccept: () => show(states.PreacceptReceived),
    accept() {
      call.accepted = true;
      show(states.AcceptReceived);
      goActive(call);
    },
    accept_ack() {
      call.accepted = true;
      goActive(call);
    },
    busy() {
      const active = r("WAWebCallCollection").activeCall;
      if (active?.id === call.info.id) {
        active.markPeerBusy();
      }
    },
    reject: (message) => finish(message.result === "unavailable" ? results.Unavailable : results.Rejected),
    nack: (message) => finish(results.Failed, message.reason),
    terminate() {
      finish(call.accepted ? results.Connected : call.info.outgoing ? results.Unavailable : results.Missed);
    },
    elsewhere() {
      const current = call;
      o("WAWebCallRingtone").stopCallRingtone();
      current.declined = true;
      show(states.CallActiveElseWhere);
      setTimeout(() => call === current && finish(results.AcceptedElsewhere), 40);
    },
  };

  for (const [type, handle] of Object.entries(handlers)) {
    link().events.on(type, (message) => {
      if (type === "offer" || call?.info.id === message.id) {
        handle(message);
      }
    });
  }
  // A second caller is a member of the collection, as of the older signalling path; the stack has its one call.
  link().events.on("offer_beside", (message) => {
    o("WAWebVoipIncomingOffer").learnPeer(message);
    const peerJid = o("WAWebWidFactory").createWid(message.jid);
    const beside = r("WAWebCallCollection").processIncomingCall(message.id, peerJid, { isVideo: message.video });
    beside.setState(states.ReceivedCall);
  });
  link().events.on("beside_over", (message) => {
    const beside = r("WAWebCallCollection").get(message.id);
    beside.setState(states.CallStateEnding);
    r("WAWebCallCollection").remove(beside);
  });
  link().events.on("offline", () => call?.accepted && finish(results.Connected));
  setInterval(report, 500);

  l.getVoipStackInterface = async () =>
    o("WAWebVoipGatingUtils").isUnsupportedBrowserForWebCalling() ? null : stack;
});

__d("WAWebVoipIncomingOffer", ["WAWebWidFactory", "WAWebContactCollection"], function (t, n, r, o, a, i, l) {
  // An offer from a LID brings the phone number behind it, and the name that the caller gave himself.
  l.learnPeer = (message) => {
    const wid = o("WAWebWidFactory").createWid(message.jid);
    if (message.lid && message.phone) {
      const lid = o("WAWebWidFactory").createUserWidOrThrow(message.lid, "lid");
      const phoneNumber = o("WAWebWidFactory").createUserWidOrThrow(message.phone);
      o("WAWebLidPnCache").lidPnCache.add(lid, { lid, phoneNumber, phoneNumberCreatedAt: Date.now() / 1000 });
    }
    const contact = o("WAWebContactCollection").ContactCollection.gadd(wid);
    if (message.name) {
      contact.set({ pushname: message.name });
    }
  };
});
