// Linking a page to a phone: the keys behind the QR code, and the code to type instead of it.
__d("WABase64", [], function (t, n, r, o, a, i, l) {
  l.encodeB64 = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)));
  l.decodeB64 = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
});

__d("WAWebDeviceKeys", [], function (t, n, r, o, a, i, l) {
  // A profile is one device to the phone: what identifies it outlives a reload.
  l.deviceId = (() => {
    const known = localStorage.getItem("device") ?? crypto.randomUUID();
    localStorage.setItem("device", known);
    return known;
  })();
  const keys = () => ({ pubKey: crypto.getRandomValues(new Uint8Array(32)) });
  l.noise = keys();
  l.identity = keys();
});

__d("WAWebSignalStoreApi", ["WAWebDeviceKeys"], function (t, n, r, o, a, i, l) {
  l.waSignalStore = {
    getRegistrationInfo: async () => ({ registrationId: 7, identityKeyPair: o("WAWebDeviceKeys").identity }),
  };
});

__d("WAWebUserPrefsInfoStore", ["WAWebDeviceKeys"], function (t, n, r, o, a, i, l) {
  l.waNoiseInfo = { get: async () => ({ staticKeyPair: o("WAWebDeviceKeys").noise }) };
});

__d("WAWebUserPrefsMultiDevice", ["WABase64", "WAWebDeviceKeys"], function (t, n, r, o, a, i, l) {
  l.getADVSecretKey = () => o("WABase64").encodeB64(new TextEncoder().encode(o("WAWebDeviceKeys").deviceId));
  l.setADVSignedIdentity = () => undefined;
});

__d("WAWebLinkDeviceEvents", ["WAWebEventEmitter"], function (t, n, r, o, a, i, l) {
  class LinkDeviceEvents extends r("WAWebEventEmitter") {
    triggerRefreshAltLinkingCode() {
      this.trigger("link_device_events:refresh_alt_linking_code");
    }
  }
  l.WAWebLinkDeviceEvents = new LinkDeviceEvents();
});

__d("WAWebAltDeviceLinkingApi", ["WAWebServerLink"], function (t, n, r, o, a, i, l) {
  let ready = false;
  l.initializeAltDeviceLinking = async () => {
    ready = true;
  };
  l.genLinkDeviceCodeForPhoneNumber = async (phone, pushNotification) => {
    if (!ready) {
      throw new Error("linking by phone number was not initialized");
    }
    const answer = await o("WAWebServerLink").query({ type: "link_code", phone, push: Boolean(pushNotification) });
    if (!answer.code) {
      throw new Error(answer.error ?? "no code");
    }
    return answer.code;
  };
});
