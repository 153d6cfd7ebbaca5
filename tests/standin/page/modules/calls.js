// Calls as the page's own interface sees them: enums, the model of one call, the collection with the active one.
__d("WAWebVoipWaCallEnums", [], function (t, n, r, o, a, i, l) {
  l.CallState = {
    None: 0,
    Calling: 1,
    PreacceptReceived: 2,
    ReceivedCall: 3,
    AcceptSent: 4,
    AcceptReceived: 5,
    CallActive: 6,
    CallActiveElseWhere: 7,
    ReceivedCallWithoutOffer: 8,
    Rejoining: 9,
    Link: 10,
    ConnectedLonely: 11,
    PreCalling: 12,
    CallStateEnding: 13,
    CallBCallStarting: 14,
  };
  l.CallLogResult = {
    Invalid: 0,
    Canceled: 1,
    Missed: 2,
    Unavailable: 3,
    Rejected: 4,
    Connected: 5,
    AcceptedElsewhere: 6,
    Failed: 7,
    ConnectedLonely: 8,
  };
});

__d("WAWebVoipSignalingEnums", [], function (t, n, r, o, a, i, l) {
  l.EndCallReason = {
    Unknown: 0,
    Timeout: 1,
    Self: 2,
    RejectDoNotDisturb: 3,
    RejectBlocked: 4,
    MicPermissionDenied: 5,
    CameraPermissionDenied: 6,
  };
});

__d("WAWebVoipCallStateUtils", ["WAWebVoipWaCallEnums"], function (t, n, r, o, a, i, l) {
  const states = () => o("WAWebVoipWaCallEnums").CallState;
  l.isCallOutgoing = (state) => [states().Calling, states().PreacceptReceived].includes(state);
  l.isCallIncoming = (state) => [states().ReceivedCall, states().ReceivedCallWithoutOffer].includes(state);
  l.isCallConnected = (state) => [states().CallActive, states().ConnectedLonely].includes(state);
  l.isCallTerminal = (state) => [states().None, states().CallStateEnding].includes(state);
});

__d("WAWebCallModel", ["WAWebEventEmitter", "WAWebVoipCallStateUtils"], function (t, n, r, o, a, i, l) {
  // Not a model with `set`: plain fields, and a state that only `getState` gives. A new call has no state at all yet
  // (null), and `change:state` brings no arguments.
  class Call extends r("WAWebEventEmitter") {
    #state;

    constructor(id = "", state = null) {
      super();
      this.id = id;
      this.#state = state;
      this.peerJid = null;
      this.offerTime = 0;
      this.isVideo = false;
      this.isGroup = false;
      this.groupJid = null;
      this.outgoing = false;
      this.isCallLink = false;
      this.selfMicMuted = false;
      this.peerMicMuted = false;
      this.wasEverConnected = false;
      this.userEndedCall = false;
      this.peerBusy = false;
      this.callLogResult = null;
      this.callFailedReason = null;
      this.msg = null;
    }

    getState() {
      return this.#state;
    }

    setState(state) {
      const before = this.#state;
      this.#state = state;
      this.trigger("change:state");
      const utils = o("WAWebVoipCallStateUtils");
      if (utils.isCallConnected(state)) {
        this.wasEverConnected = true;
      }
      if (utils.isCallTerminal(state)) {
        if (this.wasEverConnected && !utils.isCallTerminal(before)) {
          o("WAWebCallEndTone").playCallEndTone();
        }
        this.peerBusy = false;
      }
    }

    markPeerBusy() {
      this.peerBusy = true;
      this.trigger("change:state");
    }

    delete() {
      this.stopListening();
    }
  }
  Call.prototype.proxyName = "call";
  l.default = Call;
});

__d("WAWebCallCollection", ["WAWebEventEmitter", "WAWebCallModel"], function (t, n, r, o, a, i, l) {
  // The active call is not a member of the collection: it is made by the calling stack and stands in `activeCall` alone.
  class CallCollectionImpl extends r("WAWebEventEmitter") {
    #calls = new Map();

    constructor() {
      super();
      this.activeCall = null;
      this.lastActiveCall = null;
      this.isInConnectedCall = false;
      this.pendingOffers = {};
      this.pendingVoipCapChecks = {};
    }

    get(id) {
      return this.#calls.get(id);
    }

    add(properties) {
      const call = Object.assign(new (r("WAWebCallModel"))(), properties);
      this.#calls.set(call.id, call);
      return call;
    }

    remove(call) {
      this.#calls.delete(call.id);
    }

    getModelsArray() {
      return [...this.#calls.values()];
    }

    // Of the older signalling path, for offers that the calling stack does not take.
    processIncomingCall(id, from, offer) {
      return this.get(id) ?? this.add({ id, peerJid: from, ...offer });
    }

    setActiveCall(call) {
      if (this.activeCall !== null) {
        this.lastActiveCall = this.activeCall;
      }
      this.activeCall = call;
      this.trigger("change:activeCall", call);
    }

    setIsInConnectedCall(connected) {
      this.isInConnectedCall = connected;
      this.trigger("change:isInConnectedCall");
    }

    setCallFailedReason(reason) {
      if (this.activeCall !== null) {
        this.activeCall.callFailedReason = reason;
      }
    }
  }
  l.default = new CallCollectionImpl();
});
