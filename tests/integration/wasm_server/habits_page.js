// A page with the least that wa-js asks for, and calls in the manner of ?habits=...; see habits_page.py.
const query = new URLSearchParams(location.search);
const habits = new Set((query.get("habits") ?? "").split(","));
const has = (name) => habits.has(name);

const modulesMap = {}, made = {};
const define = (id, _dependencies, factory) => { modulesMap[id] = {id, factory, dependencies: []}; };
const find = (id) => {
  if (id === "__debug") return {modulesMap};
  return made[id] ??= modulesMap[id].factory();
};
const begin = () => Object.assign(globalThis, {
  __d: define, require: find, importNamespace: find, ErrorGuard: {skipGuardGlobal: () => true}, Debug: {VERSION: "2.3000.5"},
});

// The page's own table; the numbers of this build are others.
const CallState = has("numbers")
  ? {NONE: 100, CALLING: 101, PREACCEPT_RECEIVED: 102, RECEIVED_CALL: 103, ACCEPT_SENT: 104, ACCEPT_RECEIVED: 105,
     CALL_ACTIVE: 106, CALL_STATE_ENDING: 3}
  : has("names")
    ? Object.fromEntries(["None", "Calling", "PreacceptReceived", "ReceivedCall", "AcceptSent", "AcceptReceived", "CallActive",
      "CallStateEnding"].map((name) => [name, name]))
    : {None: 0, Calling: 1, PreacceptReceived: 2, ReceivedCall: 3, AcceptSent: 4, AcceptReceived: 5, CallActive: 6,
       CallStateEnding: 13};
const value = (name) => CallState[name] ?? CallState[name.replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase()];

class Wid {
  constructor(user, server) { Object.assign(this, {user, server, _serialized: `${user}@${server}`}); }
  toString() { return this._serialized; }
  isLid() { return this.server === "lid"; }
  isUser() { return true; }
  isGroupCall() { return false; }
}
const createWid = (text) => new Wid(...String(text?._serialized ?? text).split("@"));
const peerOf = (jid) => {
  if (has("text_jids")) return jid.replace("@c.us", ":3@s.whatsapp.net");
  if (has("plain_jids")) { const [user, server] = jid.split("@"); return {user, server}; }
  return createWid(jid);
};

class Model extends EventTarget {
  constructor(fields) { super(); this.fields = {}; for (const [name, one] of Object.entries(fields)) this.put(name, one); }
  put(name, one) {
    this.fields[name] = one;
    if (has("getters")) Object.defineProperty(this, `__x_${name}`, {value: one, configurable: true});
    else if (has("get")) this.get = (key) => this.fields[key];
    else if (name !== "state" || !has("get_state")) this[name] = one;
  }
}
if (has("get_state")) Model.prototype.getState = function () { return this.fields.state; };

const handlers = new Map();
class CallCollection {
  constructor() {
    this._models = [];
    // Without it every call is in the list alone.
    if (!has("list_only")) this.activeCall = has("undefined") ? undefined : null;
    if (!has("no_list")) this.getModelsArray = () => this._models.slice();
  }
  get(id) { return this._models.find((one) => one.fields.id === id); }
  processIncomingCall(model) { return model; }
  on(name, handler) { if (!has("silent")) handlers.set(name, [...(handlers.get(name) ?? []), handler]); }
  tell(name, ...args) { for (const handler of handlers.get(name) ?? []) for (let i = has("doubled") ? 3 : 1; i > 0; i--) handler(...args); }
}
class ContactCollection {
  get(id) { return has("strangers") ? undefined : {displayName: "Ana", formattedName: `+${id}`}; }
}
const calls = new CallCollection();
const log = [];
let current = null;

const put = (model) => {
  // Told first, done just after.
  if (has("early")) {
    current = model;
    calls.tell("change:activeCall", model);
    setTimeout(() => { calls._models = [model]; if (current === model) calls.activeCall = model; }, 5);
    return;
  }
  const listed = !has("active_only");
  if (listed && !calls._models.includes(model)) calls._models = [...calls._models.filter((one) => one.fields.id !== model.fields.id), model];
  if (!has("list_only")) calls.activeCall = model;
  current = model;
  if (listed) calls.tell("add", model);
  calls.tell("change:activeCall", model);
};
const become = (name) => {
  if (current === null) return;
  if (has("replaced")) put(new Model({...current.fields, state: value(name)}));
  else { current.put("state", value(name)); calls.tell("change"); }
};
const leave = () => {
  if (current === null) return;
  if (has("stuck")) { become("CallStateEnding"); current = null; return; }
  if (has("ending")) become("CallStateEnding");
  if (!has("kept")) calls._models = calls._models.filter((one) => one !== current);
  if (!has("list_only")) calls.activeCall = null;
  current = null;
  calls.tell("change:activeCall", null);
};
let count = 0;
const idOf = () => {
  count += 1;
  if (has("one_id")) return "CALL";
  if (has("number_ids")) return count;
  return has("object_ids") ? {_serialized: `false_${count}`, id: String(count)} : `C${count}`;
};
const begun = (jid, outgoing, state) => {
  const fields = {id: idOf(), peerJid: peerOf(jid), isVideo: false, isGroup: false, ...(has("mute_direction") ? {} : {outgoing})};
  const model = new Model({...fields, ...(has("late") ? {} : {state: value(state)})});
  put(model);
  if (has("late")) setTimeout(() => current === model && model.fields.state === undefined && become(state), 80);
  if (!outgoing) { if (has("processed")) calls.processIncomingCall(model); else if (calls.setActiveCall) calls.setActiveCall(model); }
  return null;
};
const never = () => new Promise(() => undefined);
const done = () => has("endless") ? never() : has("sync") ? undefined : Promise.resolve();
const stack = {
  ...(has("untyped") ? {} : {type: "web"}),
  acceptCall(...args) {
    log.push(["accept", ...args]);
    setTimeout(() => { if (!has("skipped")) become("AcceptSent"); setTimeout(() => become("CallActive"), 60); }, 60);
    return done();
  },
  rejectCall() { log.push(["reject"]); setTimeout(leave, 60); return done(); },
  endCall(...args) { log.push(["end", ...args]); setTimeout(leave, 60); return done(); },
};
const modules = {
  isLoggedIn: () => ({isLoggedIn: () => true}),
  Stream: () => ({Stream: {mode: "MAIN", info: "NORMAL", on() {}}}),
  Calls: () => ({default: calls}),
  States: () => ({CallState}),
  Stack: () => ({getVoipStackInterface: has("sync") ? () => stack : async () => stack}),
  Start: () => ({startWAWebVoipCall(wid, ...rest) {
    log.push(["start", String(wid), ...rest]);
    setTimeout(() => {
      begun(String(wid), true, "Calling");
      setTimeout(() => { if (!has("skipped")) become("PreacceptReceived"); }, 150);
    }, has("later") ? 600 : 0);
    return done();
  }}),
  Wids: () => ({createWid, createWidFromWidLike: createWid, isWidlike: (one) => one instanceof Wid,
    createUserWidOrThrow: (user, server = "c.us") => createWid(`${user}@${server}`), toUserWidOrThrow: createWid}),
  Contacts: () => ({ContactCollection: new ContactCollection(), ContactCollectionImpl: ContactCollection}),
  Lids: () => ({lidPnCache: {getPhoneNumber: (wid) => wid.user === "555666777" ? createWid("49301112223@c.us") : null,
    getCurrentLid: () => undefined}}),
  ApiContact: () => ({getCurrentLid: () => undefined, getPhoneNumber: () => undefined}),
  Exists: () => ({queryWidExists: async (wid) => ({wid}), queryPhoneExists: async () => null}),
};
// A page whose parts come one after the other, some long after its first script.
Object.entries(modules).forEach(([name, factory], index) => {
  const id = index % 2 ? `useWAHabit${name}` : `WAHabit${name}`;
  if (has("lazy")) setTimeout(() => define(id, [], factory), 800 + 150 * index);
  else define(id, [], factory);
});
if (has("lazy")) setTimeout(begin, 600);
else begin();

globalThis.lab = {
  log,
  ring: (jid) => begun(jid, false, "ReceivedCall"),
  answer: () => { if (!has("skipped")) become("AcceptReceived"); become("CallActive"); return null; },
  leave: () => { leave(); return null; },
  get current() { return current?.fields.id ?? null; },
};
