// What is seen: the QR code while nobody is logged in, a line for the account and its call otherwise.
(function () {
  "use strict";
  const root = document.getElementById("app");

  function line(text) {
    const paragraph = document.createElement("p");
    paragraph.textContent = text;
    return paragraph;
  }

  function qrCode(seed) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 33;
    canvas.setAttribute("aria-label", "Scan this QR code to link a device!");
    const pen = canvas.getContext("2d");
    let value = [...seed].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) >>> 0, 7);
    for (let cell = 0; cell < 33 * 33; cell++) {
      value = (value * 1103515245 + 12345) >>> 0;
      pen.fillStyle = value & 0x10000 ? "#111" : "#fff";
      pen.fillRect(cell % 33, Math.floor(cell / 33), 1, 1);
    }
    return canvas;
  }

  function draw() {
    const link = importNamespace("WAWebServerLink");
    if (!link.session.loggedIn) {
      root.replaceChildren(
        line("Log in: scan the QR code with the phone"),
        qrCode(importNamespace("WAWebConnModel").Conn.ref ?? ""),
      );
      return;
    }
    const call = importDefault("WAWebCallCollection").activeCall;
    const peer = call?.peerJid?.toString();
    root.replaceChildren(
      line("WhatsApp"),
      line(call ? `${call.outgoing ? "Calling" : "Call from"} ${peer}: state ${call.getState()}` : "No call"),
    );
  }

  importNamespace("WAWebServerLink").events.on("login", draw);
  importDefault("WAWebCallCollection").on("change:activeCall", (call) => {
    call?.on("change:state", draw);
    draw();
  });
  importNamespace("WAWebSocketModel").Socket.initConn();
  requireLazy(["WAWebVoipStackInterface"], () => draw());
})();
