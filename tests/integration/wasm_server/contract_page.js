// What wa-js asks of WhatsApp Web; see contract_page.py.
const query = new URLSearchParams(location.search);
const without = (query.get("without") ?? "").split(",");
const modulesMap = {};
const made = {};
globalThis.__d = (id, _dependencies, factory) => { modulesMap[id] = {id, factory}; };
globalThis.require = (id) => {
  if (id === "__debug") return {modulesMap};
  if (!(id in modulesMap)) throw new Error(`no module ${id}`);
  if (!(id in made)) made[id] = modulesMap[id].factory();
  return made[id];
};
globalThis.importNamespace = require;
globalThis.importDefault = (id) => require(id).default ?? require(id);
globalThis.ErrorGuard = {skipGuardGlobal() {}};
globalThis.Debug = {VERSION: query.get("version") ?? "2.3000.77"};

class Emitter {
  #handlers = new Map();
  on(name, handler) { this.#handlers.set(name, [...(this.#handlers.get(name) ?? []), handler]); return this; }
  once(name, handler) {
    const wrapped = (...args) => { this.off(name, wrapped); handler(...args); };
    return this.on(name, wrapped);
  }
  off(name, handler) {
    this.#handlers.set(name, (this.#handlers.get(name) ?? []).filter((one) => one !== handler));
    return this;
  }
  trigger(name, ...args) { for (const handler of this.#handlers.get(name) ?? []) handler(...args); }
}
class Wid {
  constructor(text) { this._serialized = text; [this.user, this.server] = text.split("@"); }
  toString() { return this._serialized; }
  isLid() { return this.server === "lid"; }
  isUser() { return this.server === "c.us" || this.isLid(); }
  isGroup() { return this.server === "g.us"; }
  isGroupCall() { return this.server === "call"; }
  static isXWid(server, wid) { return String(wid).endsWith(`@${server}`); }
}
const wid = (text) => new Wid(String(text?._serialized ?? text));
class CallCollectionImpl extends Emitter {
  activeCall = null;
  members = [];
  getModelsArray() { return this.members.slice(); }
  get(id) { return this.members.find((one) => one.id === id); }
  processIncomingCall() {}
}
class ContactCollectionImpl extends Emitter {
  people = new Map();
  get(id) { return this.people.get(String(id)); }
}
const calls = new CallCollectionImpl();
const contacts = new ContactCollectionImpl();
const phones = new Map();
const socket = new Emitter();
const stream = Object.assign(new Emitter(), {
  mode: query.has("out") ? "QR" : "MAIN", info: "NORMAL", needsUpdate: false,
});
const conn = Object.assign(new Emitter(), {ref: query.has("out") ? "2@first" : undefined, connected: !query.has("out")});
const cmd = new Emitter();
const CallState = query.has("old") ? {INCOMING_RING: "INCOMING_RING", ACTIVE: "ACTIVE"} : {None: 0, ReceivedCall: 3, ReceivedCallWithoutOffer: 8};
const log = [];
let gate = true;
let loggedIn = !query.has("out");
const stack = {
  type: query.get("stack") ?? "web",
  async acceptCall(...args) {
    log.push(["accept", ...args]);
    if (lab.failing) throw new Error(lab.failing);
  },
  async rejectCall(...args) { log.push(["reject", ...args]); if (lab.failing) throw new Error(lab.failing); },
  async endCall(...args) { log.push(["end", ...args]); if (lab.failing) throw new Error(lab.failing); },
};
const modules = {
  WAXLogin: () => ({isLoggedIn: () => loggedIn, isRegistered: () => loggedIn}),
  WAXStream: () => ({Stream: stream}),
  WAXSocket: () => ({Socket: socket}),
  WAXConn: () => ({Conn: conn}),
  WAXCmd: () => ({Cmd: cmd, CmdImpl: Emitter}),
  WAXCalls: () => ({default: calls, CallCollectionImpl}),
  WAXStates: () => ({CallState}),
  WAXStack: () => ({getVoipStackInterface: async () => stack}),
  WAXStart: () => ({startWAWebVoipCall: async (...args) => {
    log.push(["start", String(args[0]), ...args.slice(1)]);
    if (lab.onStart) lab.onStart(String(args[0]));
  }}),
  WAXGate: () => ({isCallingEnabled: () => gate, isVoipDownloadEnabled: () => gate,
    isUnsupportedBrowserForWebCalling: () => false, getUnsupportedBrowserReason: () => null}),
  WAXProps: () => ({getABPropConfigValue: () => gate}),
  WAXBackend: () => ({requireVoipJsBackend: async () => ({WAWebVoipInit: {initWAWebVoip: async () => log.push(["init"])}})}),
  WAWebWid: () => ({default: Wid}),
  WAWebWidFactory: () => ({createWid: wid, createWidFromWidLike: wid, isWidlike: (one) => one instanceof Wid,
    createUserWidOrThrow: (user, server = "c.us") => wid(`${user}@${server}`), toUserWidOrThrow: wid}),
  WAXContacts: () => ({ContactCollection: contacts, ContactCollectionImpl}),
  WAXLids: () => ({lidPnCache: {
    getPhoneNumber: (lid) => phones.get(String(lid)),
    getCurrentLid: (phone) => [...phones].filter(([, one]) => String(one) === String(phone)).map(([lid]) => wid(lid))[0],
  }}),
  WAXApiContact: () => ({getCurrentLid: () => undefined, getPhoneNumber: (one) => phones.get(String(one))}),
  WAXExists: () => ({
    async queryWidExists(one) {
      if (lab.failing) throw new Error(lab.failing);
      return lab.absent.includes(one.user) ? null : {wid: one, biz: false};
    },
    queryPhoneExists: async () => null,
  }),
  WAWebUserPrefsMeUser: () => ({getMaybeMePnUser: () => loggedIn ? wid("4930901820@c.us") : undefined,
    getMaybeMeLidUser: () => undefined}),
  WAXKeys: () => ({waSignalStore: {getRegistrationInfo: async () => ({identityKeyPair: {pubKey: new Uint8Array(32)}})}}),
  WAXNoise: () => ({waNoiseInfo: {get: async () => ({staticKeyPair: {pubKey: new Uint8Array(32)}})}}),
  WAXAdv: () => ({getADVSecretKey: () => "secret", setADVSignedIdentity() {}}),
  WAXBase64: () => ({encodeB64: (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes))), decodeB64: atob}),
};
for (const [id, factory] of Object.entries(modules)) {
  __d(without.includes(id) ? `Other${id}` : id, [], factory);
}

class Call extends Emitter {
  constructor(fields) { super(); Object.assign(this, {isGroup: false, outgoing: false, isVideo: false}, fields); }
}
globalThis.lab = {
  calls, contacts, phones, stream, conn, cmd, log, wid, failing: "", absent: [], onStart: null,
  set gate(open) { gate = open; },
  set loggedIn(is) { loggedIn = is; },
  // A call in the place of the active one, whose state is a plain field. Nobody is told.
  active(id, jid, state, fields = {}) {
    calls.activeCall = new Call({id, peerJid: wid(jid), state, ...fields});
    return null;
  },
  state(state) { calls.activeCall.state = state; return null; },
  none() { calls.activeCall = null; return null; },
  clear() {
    calls.activeCall = null;
    calls.members = [];
    log.length = 0;
    Object.assign(lab, {failing: "", absent: [], onStart: null, gate: true});
    return null;
  },
};
