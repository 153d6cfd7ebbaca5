// Server properties, logging, and small things that other modules lean on.
__d("WALogger", [], function (t, n, r, o, a, i, l) {
  const lines = [];
  const write = (level) => (strings, ...values) => {
    lines.push(`${level} ${String.raw({ raw: strings }, ...values)}`);
    lines.splice(0, Math.max(0, lines.length - 500));
  };
  l.LOG = write("log");
  l.WARN = write("warn");
  l.ERROR = write("error");
  l.getLogs = () => lines.slice();
});

__d("WAWebABProps", [], function (t, n, r, o, a, i, l) {
  const props = new Map([
    ["enable_web_calling", false],
    ["enable_web_group_calling", false],
    ["web_voip_audio_playback_use_media_element_output", false],
    ["calling_lid_version", 1],
    ["heartbeat_interval_s", 10],
  ]);
  l.getABPropConfigValue = (name) => props.get(name);
  l.setABPropConfigValue = (name, value) => props.set(name, value);
});

__d("WAWebEnvironment", [], function (t, n, r, o, a, i, l) {
  l.default = { isWeb: true, isWindows: false };
});

__d("WAWebIsOfficialClient", [], function (t, n, r, o, a, i, l) {
  l.isOfficialClient = true;
  l.isLegitErrorStack = () => true;
});

__d("WAWebBackendEventBus", ["WAWebEventEmitter"], function (t, n, r, o, a, i, l) {
  l.BackendEvent = { LOGOUT: "logout" };
  l.BackendEventBus = new (r("WAWebEventEmitter"))();
});

__d("WAWebNetworkStatus", ["WAWebBaseModel"], function (t, n, r, o, a, i, l) {
  class NetworkStatus extends o("WAWebBaseModel").BaseModel {
    checkOnline() {
      this.online = navigator.onLine;
      return this.online;
    }
  }
  l.default = new NetworkStatus({ online: navigator.onLine });
});

__d("WAWebLogoutReasonConstants", [], function (t, n, r, o, a, i, l) {
  let code = null;
  l.getErrorCodeFromLogoutReason = () => 0;
  l.setPrevLogoutReasonCode = (value) => (code = value);
  l.getPrevLogoutReasonCode = () => code;
  l.setPrevCustomLogoutMessage = () => undefined;
  l.getPrevCustomLogoutMessage = () => null;
});
