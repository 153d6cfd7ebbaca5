// The line to the server, and the models that tell the rest of the page about it: socket, stream, connection, login.
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
  const session = { loggedIn: false, me: null, settings: {} };
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
      Conn.set({ ref: `2@${crypto.randomUUID()}`, connected: false, wid: undefined });
      Socket.set({ state: "UNPAIRED", stream: "DISCONNECTED" });
      Stream.set({ mode: "QR", info: "PAIRING" });
    }
    events.trigger("login", session.loggedIn);
  }

  function receive(message) {
    if (message.answer !== undefined) {
      queries.get(message.answer)?.(message);
      return;
    }
    if (message.type === "session") {
      session.me = message.me;
      session.settings = message.settings;
      const props = o("WAWebABProps");
      props.setABPropConfigValue("enable_web_calling", message.settings.calling_enabled);
      props.setABPropConfigValue(
        "web_voip_audio_playback_use_media_element_output", message.settings.media_element_output,
      );
      if (message.settings.logged_in !== session.loggedIn || o("WAWebStreamModel").Stream.mode === undefined) {
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
    socket = new WebSocket(`wss://${location.host}/ws/chat`);
    socket.onmessage = (event) => receive(JSON.parse(event.data));
    socket.onclose = () => {
      o("WAWebSocketModel").Socket.set({ stream: "DISCONNECTED" });
      o("WAWebStreamModel").Stream.set({ info: "OFFLINE" });
      events.trigger("offline");
      if (!displaced) {
        setTimeout(open, 1000);
      }
    };
  }

  l.session = session;
  l.events = events;
  l.send = send;
  l.query = query;
  l.open = open;
});
