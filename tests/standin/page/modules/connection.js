// The line to the server, and the models that tell the rest of the page about it: socket, stream, connection, login.
__d("WAWebBuild", [], function (t, n, r, o, a, i, l) {
  l.loaded = globalThis.Debug.VERSION;
});

__d("WAWebSocketConstants", [], function (t, n, r, o, a, i, l) {
  const mirror = (...names) => Object.fromEntries(names.map((name) => [name, name]));
  l.SOCKET_STATE = mirror("OPENING", "PAIRING", "UNPAIRED", "UNPAIRED_IDLE", "CONNECTED", "TIMEOUT", "CONFLICT");
  l.SOCKET_STREAM = mirror("DISCONNECTED", "SYNCING", "RESUMING", "CONNECTED");
  l.WATCHED_SOCKET_STATE = mirror("OPEN", "CLOSED");
});

__d("WAWebSocketModel", ["WAWebBaseModel"], function (t, n, r, o, a, i, l) {
  class SocketModel extends o("WAWebBaseModel").BaseModel {
    initConn() {
      o("WAWebServerLink").open();
    }

    logout() {
      o("WAWebServerLink").send({ type: "logout" });
    }

    takeover() {
      o("WAWebServerLink").takeOver();
    }
  }
  l.Socket = new SocketModel({ state: "OPENING", stream: "DISCONNECTED" });
});

__d("WAWebStreamModel", ["WAWebBaseModel"], function (t, n, r, o, a, i, l) {
  class StreamModel extends o("WAWebBaseModel").BaseModel {
    markAvailable() {
      this.available = true;
    }

    markUnavailable() {
      this.available = false;
    }
  }
  l.Stream = new StreamModel({ mode: undefined, info: "OPENING", needsUpdate: false, available: true });
});

__d("WAWebConnModel", ["WAWebBaseModel"], function (t, n, r, o, a, i, l) {
  class ConnImpl extends o("WAWebBaseModel").BaseModel {}
  l.ConnImpl = ConnImpl;
  l.Conn = new ConnImpl({ ref: undefined, connected: false, pushname: undefined, wid: undefined });
});

__d("WAWebCmd", ["WAWebEventEmitter"], function (t, n, r, o, a, i, l) {
  class CmdImpl extends r("WAWebEventEmitter") {
    isMainLoaded = false;

    mainLoaded() {
      this.isMainLoaded = true;
      this.trigger("main_loaded");
    }

    logout() {
      this.isMainLoaded = false;
      this.trigger("logout");
    }

    refreshQR() {
      o("WAWebServerLink").send({ type: "refresh_qr" });
    }
  }
  l.CmdImpl = CmdImpl;
  l.Cmd = new CmdImpl();
});

__d("WAWebUserPrefsLogin", ["WAWebServerLink"], function (t, n, r, o, a, i, l) {
  l.isLoggedIn = () => o("WAWebServerLink").session.loggedIn;
  l.isRegistered = () => o("WAWebServerLink").session.loggedIn;
});

__d("WAWebServerLink", ["WAWebEventEmitter"], function (t, n, r, o, a, i, l) {
  const events = new (r("WAWebEventEmitter"))();
  const session = { loggedIn: false, me: null, settings: {}, ref: null, stackReady: false };
  const queries = new Map();
  let socket = null;
  let nextQuery = 1;
  let displaced = false;

  function send(message) {
    if (socket?.readyState === WebSocket.OPEN) {
      socket.send(JSON.stringify(message));
    }
  }

  function query(message) {
    const number = nextQuery++;
    return new Promise((resolve, reject) => {
      const patience = setTimeout(() => {
        queries.delete(number);
        reject(new Error("server did not answer"));
      }, 10000);
      queries.set(number, (answer) => {
        clearTimeout(patience);
        queries.delete(number);
        resolve(answer);
      });
      send({ ...message, query: number });
    });
  }

  function applyLogin() {
    const { Socket } = o("WAWebSocketModel");
    const { Stream } = o("WAWebStreamModel");
    const { Conn } = o("WAWebConnModel");
    if (session.loggedIn) {
      Conn.set({ ref: undefined, connected: true, wid: o("WAWebUserPrefsMeUser").getMaybeMePnUser() });
      Socket.set({ state: "CONNECTED", stream: "SYNCING" });
      Stream.set({ info: "SYNCING" });
      setTimeout(() => {
        if (session.loggedIn) {
          Socket.set({ stream: "CONNECTED" });
          Stream.set({ mode: "MAIN", info: "NORMAL" });
          o("WAWebCmd").Cmd.mainLoaded();
        }
      }, 150);
    } else {
      if (o("WAWebCmd").Cmd.isMainLoaded) {
        o("WAWebCmd").Cmd.logout();
      }
      Conn.set({ connected: false, wid: undefined });
      Socket.set({ stream: "DISCONNECTED" });
      Stream.set({ mode: "QR", info: "PAIRING" });
      applyRef();
    }
    events.trigger("login", session.loggedIn);
  }

  // The server makes a new code every now and then, and stops after some: then the page asks to be clicked.
  function applyRef() {
    const idle = session.ref === null && !displaced;
    o("WAWebSocketModel").Socket.set({ state: idle ? "UNPAIRED_IDLE" : "UNPAIRED" });
    o("WAWebConnModel").Conn.set({ ref: session.ref ?? undefined });
    events.trigger("login", false);
  }

  // The phone unlinked this page, or the page itself: what it kept goes, and it starts again at its login.
  function leave() {
    session.loggedIn = false;
    session.ref = null; // this document gets no code any more
    displaced = true;
    applyLogin();
    o("WAWebBackendEventBus").BackendEventBus.trigger(o("WAWebBackendEventBus").BackendEvent.LOGOUT);
    setTimeout(() => location.reload(), 150);
  }

  function receive(message) {
    if (message.answer !== undefined) {
      queries.get(message.answer)?.(message);
      return;
    }
    if (message.type === "ref") {
      session.ref = message.ref;
      if (!session.loggedIn) {
        applyRef();
      }
      return;
    }
    if (message.type === "logout") {
      leave();
      return;
    }
    if (message.type === "session") {
      session.me = message.me;
      session.settings = message.settings;
      session.ref = message.ref;
      if (message.settings.build !== o("WAWebBuild").loaded) {
        o("WAWebStreamModel").Stream.set({ needsUpdate: true });
      }
      const props = o("WAWebABProps");
      props.setABPropConfigValue("enable_web_calling", message.settings.calling_enabled);
      props.setABPropConfigValue(
        "web_voip_audio_playback_use_media_element_output", message.settings.media_element_output,
      );
      const { mode, info } = o("WAWebStreamModel").Stream;
      const fresh = mode === undefined || mode === "SYNCING" || info === "OFFLINE";
      if (message.settings.logged_in !== session.loggedIn || fresh) {
        session.loggedIn = message.settings.logged_in;
        applyLogin();
      }
      return;
    }
    if (message.type === "conflict") {
      displaced = true; // another page of the account has taken over
      o("WAWebSocketModel").Socket.set({ state: "CONFLICT" });
      o("WAWebStreamModel").Stream.set({ mode: "CONFLICT" });
      return;
    }
    events.trigger(message.type, message);
  }

  function open() {
    displaced = false;
    const device = encodeURIComponent(o("WAWebDeviceKeys").deviceId);
    socket = new WebSocket(`wss://${location.host}/ws/chat?device=${device}`);
    // The server offers calls to a page whose stack runs; it has to hear that of each connection.
    socket.onopen = () => session.stackReady && send({ type: "stack_ready" });
    socket.onmessage = (event) => receive(JSON.parse(event.data));
    socket.onclose = () => {
      if (o("WAWebStreamModel").Stream.mode === "CONFLICT") {
        events.trigger("offline");
        return; // another page has the account; only a person takes it back
      }
      o("WAWebSocketModel").Socket.set({ stream: "DISCONNECTED" });
      o("WAWebStreamModel").Stream.set({ info: "OFFLINE" });
      events.trigger("offline");
      if (!displaced) {
        setTimeout(open, 1000);
      }
    };
  }

  function takeOver() {
    o("WAWebSocketModel").Socket.set({ state: "OPENING" });
    o("WAWebStreamModel").Stream.set({ mode: "SYNCING", info: "OPENING" });
    session.loggedIn = false; // until the server says so again
    open();
  }

  l.stackReady = () => {
    session.stackReady = true;
    send({ type: "stack_ready" });
  };
  l.session = session;
  l.takeOver = takeOver;
  l.events = events;
  l.send = send;
  l.query = query;
  l.open = open;
});
