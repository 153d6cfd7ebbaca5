// Whether this account and this browser may call, and the devices that a call needs.
__d("WAWebVoipGatingUtils", ["WAWebABProps"], function (t, n, r, o, a, i, l) {
  l.getUnsupportedBrowserReason = () => {
    if (typeof SharedArrayBuffer === "undefined" || typeof Atomics === "undefined") {
      return "SharedArrayBuffer";
    }
    return typeof RTCPeerConnection === "undefined" ? "RTCPeerConnection" : null;
  };
  l.isUnsupportedBrowserForWebCalling = () => l.getUnsupportedBrowserReason() !== null;
  l.isCallingEnabled = () =>
    o("WAWebABProps").getABPropConfigValue("enable_web_calling") === true && !l.isUnsupportedBrowserForWebCalling();
  l.isVoipDownloadEnabled = () => l.isCallingEnabled();
});

__d("WAWebVoipJsBackendLoadable", ["WAWebVoipInit"], function (t, n, r, o, a, i, l) {
  l.requireVoipJsBackend = async () => ({ WAWebVoipInit: o("WAWebVoipInit") });
});

__d("WAWebVoipInit", [], function (t, n, r, o, a, i, l) {
  l.initWAWebVoip = async () => undefined;
});

__d("WAWebVoipAcquireMediaStream", ["WAWebServerLink"], function (t, n, r, o, a, i, l) {
  let asked = 0;

  async function getMicrophone(constraints) {
    asked += 1;
    o("WAWebServerLink").send({ type: "get_user_media", count: asked });
    const stream = await navigator.mediaDevices.getUserMedia({ audio: constraints });
    const [track] = stream.getAudioTracks();
    if (track === undefined || track.readyState !== "live") {
      throw new DOMException("the microphone's track is not live", "NotReadableError");
    }
    return stream;
  }

  function release(stream) {
    for (const track of stream.getTracks()) {
      track.stop();
    }
  }

  // Asked for before anything of a call starts: is there a microphone at all, may it be used, does it open.
  async function checkVoipDevicePermissions() {
    const devices = await navigator.mediaDevices.enumerateDevices();
    const microphones = devices.filter((device) => device.kind === "audioinput");
    if (microphones.length === 0) {
      throw new DOMException("no microphone", "NotFoundError");
    }
    const permission = await navigator.permissions.query({ name: "microphone" });
    if (permission.state === "denied") {
      throw new DOMException("microphone permission denied", "NotAllowedError");
    }
    release(await getMicrophone(true));
    return microphones[0].deviceId;
  }

  l.checkVoipDevicePermissions = checkVoipDevicePermissions;
  l.getMicrophone = getMicrophone;
  l.release = release;
});
