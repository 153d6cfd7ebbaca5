/** Watches WhatsApp's calls and acts on them. */

import { PonteError } from '../errors.ts';
import type { Emit, Log } from '../events.ts';
import { logFault } from '../events.ts';
import { type Bindings, type CallModel, type CallStore, type Wid, missing, wajsFault } from './bindings.ts';
import { asNumber, endReasonOf, takenElsewhere } from './ending.ts';
import { CallLedger, type LedgerEvent } from './ledger.ts';
import { CallReader, isOverState } from './models.ts';
import { type People, jidOf } from './people.ts';
import { CALL_ENTRY_POINT, CALL_START_KIND, CallState, END_BY_USER, isConnected, isRinging } from './states.ts';
import { acted, inTime, pause } from './waiting.ts';

/** The net under the events: often while a call exists, else only to notice one. */
const POLL_IN_CALL_MS = 250;
const POLL_IDLE_MS = 1000;
/** While a call has no state yet, which may come without an event. */
const POLL_PENDING_MS = 50;
/** What is told of may be done just after. */
const AFTER_EVENT_MS = 20;
const PLACING_TIMEOUT_MS = 10_000;
/** For all that comes before the placing. The gateway waits 20 s in all: a call must not be placed after that. */
const PREPARING_TIMEOUT_MS = 8000;
/** A call that WhatsApp places after we gave it up is ended, if it comes within this time. */
const LATE_MS = 60_000;
const LATE_LOOK_MS = 250;
const PLACED_WITHIN_MS = 2000;
const PLACING_LOOK_MS = 50;
/** A call that is over stays on WhatsApp's screen for a moment; a number dialled meanwhile waits for that. */
const ENDING_TIMEOUT_MS = 3000;
/** WhatsApp writes the outcome into its log just after the call is gone. */
const REASON_TIMEOUT_MS = 250;
const REASON_LOOK_MS = 25;
/** WhatsApp may put its active call away and back in one go; a model that is still listed is over only after this. */
const PUT_AWAY_MS = 300;

export interface CallListing {
  readonly id: string;
  readonly state: number | null;
  readonly outgoing: boolean;
  readonly peer: string;
  /** A gateway placed or took it: nobody is at this page, so it needs one. */
  readonly ours: boolean;
}

export interface CallsParts {
  readonly bindings: Bindings;
  readonly people: People;
  readonly emit: Emit;
  readonly log: Log;
  /** A call appeared where there was none. */
  readonly onBegin: () => void;
  /** The last call is gone. */
  readonly onIdle: () => void;
}

export class Calls {
  private readonly ledger = new CallLedger();
  private readonly reader: CallReader;
  private readonly ours = new Set<string>();
  /** Calls that were active, and since when they are not, while WhatsApp lists them still. */
  private readonly wasActive = new Map<string, number | null>();
  private listed: ReadonlySet<string> = new Set();
  private readonly watched = new WeakSet<object>();
  /** Models of open calls: how a call ended is read from its model after WhatsApp has put it away. */
  private readonly known = new Map<string, CallModel>();
  private delivery: Promise<void> = Promise.resolve();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private looking = false;
  private pending = false;
  private listening = false;
  private dials = 0;

  constructor(private readonly parts: CallsParts) {
    this.reader = new CallReader(parts.bindings);
  }

  start(): void {
    this.tick();
  }

  list(): CallListing[] {
    this.look();
    return this.ledger
      .open()
      .map(({ id, state, outgoing, peer }) => ({ id, state, outgoing, peer, ours: this.ours.has(id) }));
  }

  /** Tell of the calls that ring here once more: for a gateway that was not there, or not able to take them. */
  announce(): null {
    this.look();
    for (const event of this.ledger.ringing()) this.deliver(event);
    return null;
  }

  /** Whether a gateway is responsible for a call here. */
  get inUse(): boolean {
    return this.ours.size > 0;
  }

  /** End the calls that a gateway placed or took, since it is gone. */
  async endOurs(): Promise<void> {
    for (const id of [...this.ours]) {
      try {
        await this.end(id);
      } catch (fault) {
        if (!(fault instanceof PonteError && fault.code === 'call_not_found')) throw fault;
      }
    }
  }

  async dial(digits: unknown): Promise<{ id: string }> {
    if (typeof digits !== 'string' || !/^\d{5,20}$/.test(digits)) {
      throw new PonteError('bad_argument', 'the number must be digits with the country code and no +');
    }
    this.requireReady();
    if (callingEnabled(this.parts.bindings) === false) {
      throw new PonteError('calling_disabled', 'WhatsApp has not enabled calls on the web for this account');
    }
    this.dials += 1;
    const dial = this.dials;
    const found = await inTime(this.prepare(digits), PREPARING_TIMEOUT_MS);
    const { bindings } = this.parts;
    const place = bindings.need('startWAWebVoipCall');
    const before = new Set(this.models().map((model) => this.reader.id(model)));
    const called = [found.lid, found.wid, `${digits}@c.us`].map((wid) => jidOf(wid)).filter((jid) => jid !== '');
    let refused: unknown = null;
    let deadline = Date.now() + PLACING_TIMEOUT_MS;
    Promise.resolve(place(found.lid ?? found.wid, false, CALL_ENTRY_POINT, CALL_START_KIND)).then(
      () => {
        // WhatsApp shows a dialog and returns where it places no call.
        deadline = Math.min(deadline, Date.now() + PLACED_WITHIN_MS);
      },
      (fault: unknown) => {
        refused = fault;
      },
    );
    const find = (): CallModel | undefined =>
      this.models().find((model) => !before.has(this.reader.id(model)) && this.isPlaced(model, called));
    while (Date.now() < deadline) {
      const placed = find();
      if (placed !== undefined) {
        const id = this.reader.id(placed);
        this.reader.markPlaced(id);
        this.ours.add(id);
        this.ledger.expect(this.reader.snapshot(placed));
        this.look();
        return { id };
      }
      if (refused !== null) throw wajsFault(refused);
      await pause(PLACING_LOOK_MS);
    }
    void this.endLate(find, dial);
    throw new PonteError('timeout', 'WhatsApp did not place the call');
  }

  /** Find the number, and have WhatsApp's stack started. */
  private async prepare(digits: string): Promise<{ readonly wid: Wid; readonly lid?: Wid }> {
    await this.lineFree();
    const { bindings } = this.parts;
    const lookup = bindings.wpp?.contact?.queryExists?.(`${digits}@c.us`);
    if (lookup === undefined) throw missing('contact.queryExists');
    const found = await lookup;
    if (found === null) {
      await this.checkAbsent(`${digits}@c.us`);
      throw new PonteError('not_on_whatsapp', 'the number has no WhatsApp account');
    }
    // wa-js's own offer() forces the account's feature gates open; the stack is started as it does that, without them.
    bindings.need('startWAWebVoipCall');
    await bindings.stack();
    return found;
  }

  /** Nobody waits any more for a call that was given up: the person who is called must not ring for nobody. */
  private async endLate(find: () => CallModel | undefined, dial: number): Promise<void> {
    const deadline = Date.now() + LATE_MS;
    // The next call may be one to the same number.
    while (Date.now() < deadline && this.dials === dial) {
      const placed = find();
      if (placed !== undefined) {
        const id = this.reader.id(placed);
        this.reader.markPlaced(id);
        this.parts.log('warning', 'WhatsApp placed a call too late, and it is ended');
        await this.end(id).catch((fault: unknown) => {
          logFault(this.parts.log, 'a call that was placed too late could not be ended', fault);
        });
        return;
      }
      await pause(LATE_LOOK_MS);
    }
  }

  /** The call to one of these jids; a model need not say which way it goes. */
  private isPlaced(model: CallModel, called: readonly string[]): boolean {
    const { outgoing, peer, state } = this.reader.snapshot(model);
    if (outgoing) return true;
    if (isRinging(state)) return false;
    return called.includes(peer);
  }

  /** wa-js gives null for "not there" and for "could not ask" alike; a caller must not be told the one for the other. */
  private async checkAbsent(jid: string): Promise<void> {
    const { bindings } = this.parts;
    const wid = bindings.wid(jid);
    const ask = bindings.attempt(() => bindings.functions?.queryWidExists);
    if (wid === undefined || typeof ask !== 'function') return;
    try {
      await ask(wid);
    } catch (fault) {
      throw new PonteError('call_failed', `WhatsApp could not be asked for the number: ${wajsFault(fault).message}`);
    }
  }

  async accept(id: unknown): Promise<null> {
    const model = this.find(id);
    if (!isRinging(this.reader.state(model))) throw new PonteError('call_not_ringing', 'the call does not ring here');
    const { bindings } = this.parts;
    this.requireActive(model);
    const stack = await inTime(bindings.stack(), PREPARING_TIMEOUT_MS);
    if (typeof stack.acceptCall !== 'function') throw missing('acceptCall');
    this.ours.add(this.reader.id(model));
    // Audio and no camera, whatever the caller offers; wa-js would turn the camera on for a video call.
    try {
      await acted(
        () => stack.acceptCall?.(true, false),
        () => !isRinging(this.reader.state(model)),
      );
    } catch (fault) {
      this.ours.delete(this.reader.id(model));
      if (this.isOver(model)) throw new PonteError('call_not_found', 'the caller was gone before the call was taken');
      throw wajsFault(fault);
    } finally {
      this.look();
    }
    return null;
  }

  async reject(id: unknown): Promise<null> {
    const model = this.find(id);
    if (!isRinging(this.reader.state(model))) throw new PonteError('call_not_ringing', 'the call does not ring here');
    this.requireActive(model);
    const stack = await inTime(this.parts.bindings.stack(), PREPARING_TIMEOUT_MS);
    if (typeof stack.rejectCall !== 'function') throw missing('rejectCall');
    await this.finish(model, () => stack.rejectCall?.());
    return null;
  }

  async end(id: unknown): Promise<null> {
    const model = this.find(id);
    if (isRinging(this.reader.state(model)) && !this.reader.outgoing(model)) return await this.reject(id);
    this.requireActive(model);
    const stack = await inTime(this.parts.bindings.stack(), PREPARING_TIMEOUT_MS);
    if (typeof stack.endCall !== 'function') throw missing('endCall');
    await this.finish(model, () => stack.endCall?.(END_BY_USER, true));
    return null;
  }

  /** End a call; that the other side was faster is no fault. */
  private async finish(model: CallModel, act: () => unknown): Promise<void> {
    this.parts.bindings.attempt(() => {
      model.userEndedCall = true;
    });
    try {
      await acted(act, () => this.isOver(model));
    } catch (fault) {
      if (!this.isOver(model)) throw wajsFault(fault);
    } finally {
      this.look();
    }
  }

  private async lineFree(): Promise<void> {
    const deadline = Date.now() + ENDING_TIMEOUT_MS;
    for (;;) {
      this.look();
      const open = this.ledger.busy();
      if (open.length === 0) return;
      if (open.some((call) => call.state !== CallState.CallStateEnding) || Date.now() > deadline) {
        throw new PonteError('busy_line', 'the account is in a call already');
      }
      await pause(PLACING_LOOK_MS);
    }
  }

  private isOver(model: CallModel): boolean {
    const id = this.reader.id(model);
    // WhatsApp may have put another object in its place since.
    const now = this.models().find((one) => this.reader.id(one) === id);
    return now === undefined || isOverState(this.reader.state(now));
  }

  /** The stack has no argument for the call: it takes, or ends, whichever is active. */
  private requireActive(model: CallModel): void {
    const active = this.parts.bindings.attempt(() => this.parts.bindings.callStore?.activeCall) ?? null;
    const alone = active === null && this.models().filter((one) => !isOverState(this.reader.state(one))).length === 1;
    if (!alone && (active === null || this.reader.id(active) !== this.reader.id(model))) {
      throw new PonteError('call_failed', 'another call is active');
    }
  }

  private requireReady(): void {
    const { bindings } = this.parts;
    if (!bindings.injected || bindings.authenticated !== true) {
      throw new PonteError('not_ready', 'WhatsApp is not ready or not logged in');
    }
  }

  private find(id: unknown): CallModel {
    if (typeof id !== 'string' || id === '') throw new PonteError('bad_argument', 'the call id must be a text');
    const model = this.models().find((one) => this.reader.id(one) === id);
    if (model === undefined) throw new PonteError('call_not_found', 'there is no such call');
    return model;
  }

  /**
   * WhatsApp keeps a call of the native stack in activeCall only, older ones in the collection. A call that both sides
   * are in does not end because another one takes that place.
   */
  private models(): CallModel[] {
    const { bindings } = this.parts;
    const store = bindings.callStore;
    if (store === undefined) return [];
    const given = bindings.attempt(() => store.getModelsArray?.()) ?? bindings.attempt(() => store._models);
    const listed = Array.isArray(given) ? given : [];
    const active = bindings.attempt(() => store.activeCall) ?? null;
    const activeId = active === null ? '' : this.reader.id(active);
    const found = new Map<string, CallModel>();
    // A call without an id cannot be spoken of; it gets one.
    if (active !== null && activeId !== '') found.set(activeId, active);
    this.listed = new Set(listed.map((model) => this.reader.id(model)));
    for (const model of listed) {
      const id = this.reader.id(model);
      if (id !== '' && !found.has(id) && !this.isPutAway(id, active)) found.set(id, model);
    }
    if (active === null) return [...found.values()];
    for (const [id, model] of this.known) {
      if (!found.has(id) && isConnected(this.reader.state(model))) found.set(id, model);
    }
    return [...found.values()];
  }

  /** WhatsApp may go on listing a call that was active and is over, in its last state. */
  private isPutAway(id: string, active: CallModel | null): boolean {
    const since = this.wasActive.get(id);
    if (since === undefined || active !== null) return false;
    const now = Date.now();
    this.wasActive.set(id, since ?? now);
    return now - (since ?? now) >= PUT_AWAY_MS;
  }

  private readonly tick = (): void => {
    clearTimeout(this.timer);
    this.look();
    this.timer = setTimeout(this.tick, this.pauseMs);
  };

  private get pauseMs(): number {
    if (this.pending) return POLL_PENDING_MS;
    return this.ledger.open().length > 0 ? POLL_IN_CALL_MS : POLL_IDLE_MS;
  }

  /** Something of a call was told: before it is so, in some builds. */
  private readonly heard = (): void => {
    this.look();
    setTimeout(this.look, AFTER_EVENT_MS);
  };

  /** Look at WhatsApp's calls now and report what changed. */
  private readonly look = (): void => {
    // Reading a model may make WhatsApp fire the very event that leads here.
    if (this.looking) return;
    this.looking = true;
    const pauseMs = this.pauseMs;
    const wasIdle = this.ledger.open().length === 0;
    try {
      const store = this.parts.bindings.callStore;
      if (store === undefined) return;
      this.watch(store);
      this.listen();
      const models = this.models();
      for (const model of models) this.watch(model);
      const active = this.parts.bindings.attempt(() => store.activeCall) ?? null;
      const activeId = active === null ? '' : this.reader.id(active);
      if (activeId !== '') this.wasActive.set(activeId, null);
      this.pending =
        active !== null && (activeId === '' || (this.reader.state(active) ?? CallState.None) === CallState.None);
      const snapshots = models.map((model) => this.reader.snapshot(model));
      const events = this.ledger.observe(snapshots, Date.now());
      for (const model of models) this.known.set(this.reader.id(model), model);
      for (const event of events) this.deliver(event);
      this.forget(new Set(this.ledger.open().map((call) => call.id)), activeId);
    } catch (fault) {
      logFault(this.parts.log, 'WhatsApp\'s calls could not be read', fault);
    } finally {
      this.looking = false;
      const isIdle = this.ledger.open().length === 0;
      if (this.pauseMs < pauseMs) this.timer = rescheduled(this.timer, this.tick, this.pauseMs);
      if (wasIdle && !isIdle) this.parts.onBegin();
      else if (!wasIdle && isIdle) this.parts.onIdle();
    }
  };

  private forget(open: ReadonlySet<string>, activeId: string): void {
    for (const id of this.known.keys()) if (!open.has(id)) this.known.delete(id);
    for (const id of this.ours) if (!open.has(id)) this.ours.delete(id);
    for (const id of this.wasActive.keys()) {
      if (open.has(id) || this.listed.has(id) || id === activeId) continue;
      this.wasActive.delete(id);
      this.reader.forget(id);
    }
  }

  /** wa-js wraps the ways by which calls come in; its event is a hint to look, since it is lost where the state is late. */
  private listen(): void {
    if (this.listening) return;
    this.listening = true;
    this.parts.bindings.attempt(() => this.parts.bindings.wpp?.on?.('call.incoming_call', this.heard));
  }

  private watch(source: CallStore | CallModel): void {
    if (this.watched.has(source)) return;
    this.watched.add(source);
    const listen = (event: string): unknown => source.on?.(event, this.heard);
    this.parts.bindings.attempt(() => {
      if ('getModelsArray' in source || 'activeCall' in source) {
        listen('change:activeCall');
        listen('add');
        listen('remove');
      } else {
        listen('change:state');
        // Where the state is kept under another name, any change is worth a look.
        listen('change');
      }
    });
  }

  /** Events leave in order; an announcement may wait for the number behind a LID, and those after it wait too. */
  private deliver(event: LedgerEvent): void {
    const model = this.known.get(event.call.id);
    this.delivery = this.delivery
      .then(() => this.send(event, model))
      .catch((fault: unknown) => {
        logFault(this.parts.log, 'an event of a call was lost', fault);
      });
  }

  private async send(event: LedgerEvent, model: CallModel | undefined): Promise<void> {
    const { emit, people, log } = this.parts;
    const { id, peer, video, outgoing, endReason } = event.call;
    switch (event.kind) {
      case 'incoming': {
        const phone = await people.phone(model, peer);
        emit({ type: 'call.incoming', id, peer, phone, name: people.name(peer, phone), video });
        break;
      }
      case 'state':
        emit({ type: 'call.state', id, state: event.state, end_reason: endReason, outgoing });
        break;
      case 'gone': {
        const reason = endReason ?? (model === undefined ? null : await lateReason(model));
        const elsewhere = event.elsewhere || (model !== undefined && takenElsewhere(model));
        emit({ type: 'call.gone', id, end_reason: reason, elsewhere });
        break;
      }
      case 'group_ignored':
        log('info', 'a group call is left to the other devices of the account');
        break;
    }
  }
}

async function lateReason(model: CallModel): Promise<number | null> {
  const deadline = Date.now() + REASON_TIMEOUT_MS;
  for (;;) {
    const reason = endReasonOf(model);
    if (reason !== null || Date.now() > deadline || asNumber(model.callLogResult) !== null) return reason;
    await pause(REASON_LOOK_MS);
  }
}

function rescheduled(
  timer: ReturnType<typeof setTimeout> | undefined,
  tick: () => void,
  ms: number,
): ReturnType<typeof setTimeout> {
  clearTimeout(timer);
  return setTimeout(tick, ms);
}

/** undefined while WhatsApp does not say. */
export function callingEnabled(bindings: Bindings): boolean | undefined {
  const gate = bindings.attempt(() => bindings.functions?.isCallingEnabled?.());
  if (typeof gate === 'boolean') return gate;
  const property = bindings.attempt(() => bindings.functions?.getABPropConfigValue?.('enable_web_calling'));
  return typeof property === 'boolean' ? property : undefined;
}
