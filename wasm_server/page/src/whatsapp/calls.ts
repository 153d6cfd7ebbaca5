/** Watches WhatsApp's calls and acts on them. */

import { PonteError } from '../errors.ts';
import type { Emit, Log } from '../events.ts';
import { logFault } from '../events.ts';
import { type Bindings, type CallModel, type CallStore, missing, wajsFault } from './bindings.ts';
import { asNumber, endReasonOf, takenElsewhere } from './ending.ts';
import { CallLedger, type CallSnapshot, type LedgerEvent } from './ledger.ts';
import { type People, jidOf } from './people.ts';
import {
  CALL_ENTRY_POINT,
  CALL_START_KIND,
  CallState,
  END_BY_USER,
  isConnected,
  isRinging,
  numberOfState,
} from './states.ts';

/** The net under the events: often while a call exists, else only to notice one. */
const POLL_IN_CALL_MS = 250;
const POLL_IDLE_MS = 1000;
/** While a call has no state yet, which may come without an event. */
const POLL_PENDING_MS = 50;
const PLACING_TIMEOUT_MS = 10_000;
const PLACED_WITHIN_MS = 2000;
const PLACING_LOOK_MS = 50;
/** A call that is over stays on WhatsApp's screen for a moment; a number dialled meanwhile waits for that. */
const ENDING_TIMEOUT_MS = 3000;
/** WhatsApp writes the outcome into its log just after the call is gone. */
const REASON_TIMEOUT_MS = 250;
const REASON_LOOK_MS = 25;

export interface CallListing {
  readonly id: string;
  readonly state: number | null;
  readonly outgoing: boolean;
  readonly peer: string;
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
  private readonly watched = new WeakSet<object>();
  /** Models of open calls: how a call ended is read from its model after WhatsApp has put it away. */
  private readonly known = new Map<string, CallModel>();
  private delivery: Promise<void> = Promise.resolve();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private looking = false;
  private pending = false;
  private listening = false;

  constructor(private readonly parts: CallsParts) {}

  start(): void {
    this.tick();
  }

  list(): CallListing[] {
    this.look();
    return this.ledger.open().map(({ id, state, outgoing, peer }) => ({ id, state, outgoing, peer }));
  }

  async dial(digits: unknown): Promise<{ id: string }> {
    if (typeof digits !== 'string' || !/^\d{5,20}$/.test(digits)) {
      throw new PonteError('bad_argument', 'the number must be digits with the country code and no +');
    }
    this.requireReady();
    if (callingEnabled(this.parts.bindings) === false) {
      throw new PonteError('calling_disabled', 'WhatsApp has not enabled calls on the web for this account');
    }
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
    const place = bindings.need('startWAWebVoipCall');
    await bindings.stack();
    const before = new Set(this.models().map((model) => model.id));
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
    while (Date.now() < deadline) {
      const placed = this.models().find((model) => model.outgoing === true && !before.has(model.id));
      if (placed !== undefined) {
        this.look();
        return { id: placed.id };
      }
      if (refused !== null) throw wajsFault(refused);
      await pause(PLACING_LOOK_MS);
    }
    throw new PonteError('timeout', 'WhatsApp did not place the call');
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
    if (!isRinging(stateOf(model))) throw new PonteError('call_not_ringing', 'the call does not ring here');
    const { bindings } = this.parts;
    if (bindings.callStore?.activeCall?.id !== model.id) throw new PonteError('call_failed', 'another call is active');
    const stack = await bindings.stack();
    if (typeof stack.acceptCall !== 'function') throw missing('acceptCall');
    // Audio and no camera, whatever the caller offers; wa-js would turn the camera on for a video call.
    try {
      await stack.acceptCall(true, false);
    } catch (fault) {
      if (this.isOver(model)) throw new PonteError('call_not_found', 'the caller was gone before the call was taken');
      throw wajsFault(fault);
    } finally {
      this.look();
    }
    return null;
  }

  async reject(id: unknown): Promise<null> {
    const model = this.find(id);
    if (!isRinging(stateOf(model))) throw new PonteError('call_not_ringing', 'the call does not ring here');
    if (this.parts.bindings.callStore?.activeCall?.id !== model.id) {
      throw new PonteError('call_failed', 'another call is active');
    }
    const stack = await this.parts.bindings.stack();
    if (typeof stack.rejectCall !== 'function') throw missing('rejectCall');
    await this.finish(model, () => stack.rejectCall?.());
    return null;
  }

  async end(id: unknown): Promise<null> {
    const model = this.find(id);
    if (isRinging(stateOf(model)) && model.outgoing !== true) return await this.reject(id);
    // The stack has no argument for the call: it ends whichever is active.
    if (this.parts.bindings.callStore?.activeCall?.id !== model.id) {
      throw new PonteError('call_failed', 'another call is active');
    }
    const stack = await this.parts.bindings.stack();
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
      await act();
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
    const state = stateOf(model);
    if (state === null || state === CallState.None || state === CallState.CallStateEnding) return true;
    return !this.models().some((one) => one.id === model.id);
  }

  private requireReady(): void {
    const { bindings } = this.parts;
    if (!bindings.injected || bindings.authenticated !== true) {
      throw new PonteError('not_ready', 'WhatsApp is not ready or not logged in');
    }
  }

  private find(id: unknown): CallModel {
    if (typeof id !== 'string' || id === '') throw new PonteError('bad_argument', 'the call id must be a text');
    const model = this.models().find((one) => one.id === id);
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
    const listed = bindings.attempt(() => store.getModelsArray?.());
    const models = Array.isArray(listed) ? [...listed] : [];
    const active = bindings.attempt(() => store.activeCall) ?? null;
    if (active !== null && !models.some((model) => model.id === active.id)) models.unshift(active);
    if (active === null) return models;
    for (const [id, model] of this.known) {
      if (isConnected(stateOf(model)) && !models.some((one) => one.id === id)) models.push(model);
    }
    return models;
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
      this.pending = active !== null && (stateOf(active) ?? CallState.None) === CallState.None;
      const events = this.ledger.observe(models.map(snapshotOf));
      for (const model of models) this.known.set(model.id, model);
      for (const event of events) this.deliver(event);
      const open = new Set(this.ledger.open().map((call) => call.id));
      for (const id of this.known.keys()) if (!open.has(id)) this.known.delete(id);
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

  /** wa-js wraps the ways by which calls come in; its event is a hint to look, since it is lost where the state is late. */
  private listen(): void {
    if (this.listening) return;
    this.listening = true;
    this.parts.bindings.attempt(() => this.parts.bindings.wpp?.on?.('call.incoming_call', this.look));
  }

  private watch(source: CallStore | CallModel): void {
    if (this.watched.has(source)) return;
    this.watched.add(source);
    const listen = (event: string): unknown => source.on?.(event, this.look);
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

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

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

function stateOf(model: CallModel): number | null {
  let told: unknown;
  try {
    told = model.getState?.();
  } catch {
    // A model that is being put away may not answer any more.
  }
  return numberOfState(told) ?? numberOfState(model.state);
}

function snapshotOf(model: CallModel): CallSnapshot {
  const peer = jidOf(model.peerJid);
  return {
    id: model.id,
    state: stateOf(model),
    outgoing: model.outgoing === true,
    peer,
    video: model.isVideo === true,
    group: model.isGroup === true || (model.groupJid ?? null) !== null || /@(g\.us|call)$/.test(peer),
    elsewhere: takenElsewhere(model),
    endReason: endReasonOf(model),
  };
}

/** undefined while WhatsApp does not say. */
export function callingEnabled(bindings: Bindings): boolean | undefined {
  const gate = bindings.attempt(() => bindings.functions?.isCallingEnabled?.());
  if (typeof gate === 'boolean') return gate;
  const property = bindings.attempt(() => bindings.functions?.getABPropConfigValue?.('enable_web_calling'));
  return typeof property === 'boolean' ? property : undefined;
}
