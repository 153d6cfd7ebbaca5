// The way in for calls that this side starts.
__d("WAWebVoipStartCall", ["WAWebVoipStackInterface", "WAWebVoipGatingUtils"], function (t, n, r, o, a, i, l) {
  l.startWAWebVoipCall = async (peer, isVideo, _entryPoint, _channel) => {
    if (!o("WAWebVoipGatingUtils").isCallingEnabled()) {
      return;
    }
    if (r("WAWebCallCollection").activeCall !== null) {
      return; // the real page shows a dialog: one call at a time
    }
    const stack = await o("WAWebVoipStackInterface").getVoipStackInterface();
    await stack.startCall(peer, isVideo);
  };
});

// The stack hears of calls only once it runs.
requireLazy(["WAWebVoipStackInterface", "WAWebVoipIncomingOffer"], () => {
  importNamespace("WAWebServerLink").stackReady();
});
