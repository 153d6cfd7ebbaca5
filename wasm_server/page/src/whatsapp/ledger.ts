/**
 * Which events a change in WhatsApp's calls means. Pure: snapshots in, events out.
 *
 * WhatsApp tells of calls in several ways, some late and some not at all, so the watcher looks often and this decides what
 * is new: each call is announced once, each state once, each end once, whatever was missed in between.
 */

import { CallState, isPlaced, isRinging } from './states.ts';

export interface CallSnapshot {
  readonly id: string;
  /** null while WhatsApp has not said: it comes up to some hundred milliseconds after the call. */
  readonly state: number | null;
  readonly outgoing: boolean;
  readonly peer: string;
  readonly video: boolean;
  readonly group: boolean;
  /** WhatsApp's log says that another device of the account took it. */
  readonly elsewhere: boolean;
  readonly endReason: number | null;
}

export type LedgerEvent =
  | { kind: 'incoming'; call: CallSnapshot }
  | { kind: 'state'; call: CallSnapshot; state: number }
  | { kind: 'gone'; call: CallSnapshot; elsewhere: boolean }
  | { kind: 'group_ignored'; call: CallSnapshot };

interface Entry {
  snapshot: CallSnapshot;
  announced: boolean;
  lastState: number | null;
  phase: 'open' | 'gone' | 'ignored';
  /** Since when WhatsApp says that it is ending. */
  endingSince: number | null;
  /** The gateway waits for its end, though WhatsApp gave it no state yet. */
  expected: boolean;
  /** It was not there any more when WhatsApp's calls were looked at after its end. */
  left: boolean;
}

/** Ended calls remembered, so that a model that WhatsApp keeps around is not taken for a new call. */
const REMEMBERED = 200;

/** A call that is ending leaves WhatsApp's screen within two seconds; a model that stays says no more than that. */
export const ENDING_MS = 2500;

function fresh(snapshot: CallSnapshot): Omit<Entry, 'phase'> {
  return { snapshot, announced: false, lastState: null, endingSince: null, expected: false, left: false };
}

export class CallLedger {
  private readonly entries = new Map<string, Entry>();

  /** Calls that are not gone, as last seen. */
  open(): CallSnapshot[] {
    return [...this.entries.values()].filter((entry) => entry.phase === 'open').map((entry) => entry.snapshot);
  }

  /** Calls that hold WhatsApp's one line: the open ones, and those of groups, which are left to other devices. */
  busy(): CallSnapshot[] {
    return [...this.entries.values()].filter((entry) => entry.phase !== 'gone').map((entry) => entry.snapshot);
  }

  /** Calls that ring here and that the gateway was told of, as it was told. */
  ringing(): LedgerEvent[] {
    return [...this.entries.values()]
      .filter(({ phase, announced, snapshot }) => phase === 'open' && announced && isRinging(snapshot.state))
      .map(({ snapshot }) => ({ kind: 'incoming', call: snapshot }));
  }

  /** The gateway placed this call: it is told of its end even if WhatsApp never gave it a state. */
  expect(call: CallSnapshot): void {
    const entry = this.entries.get(call.id);
    if (entry === undefined || entry.phase === 'gone') this.entries.set(call.id, { ...fresh(call), phase: 'open', expected: true });
    else entry.expected = true;
  }

  /**
   * Take in all calls that WhatsApp has now; return what is new, in order.
   *
   * @param now any clock's milliseconds.
   */
  observe(snapshots: readonly CallSnapshot[], now = 0): LedgerEvent[] {
    const events: LedgerEvent[] = [];
    const present = new Set(snapshots.map((snapshot) => snapshot.id));
    for (const [id, entry] of this.entries) {
      if (entry.phase !== 'open' && !present.has(id)) entry.left = true;
      if (entry.phase === 'open' && !present.has(id)) events.push(...this.finish(entry, false));
      else if (entry.phase === 'ignored' && !present.has(id)) entry.phase = 'gone';
    }
    for (const snapshot of snapshots) events.push(...this.see(snapshot, now));
    this.trim();
    return events;
  }

  private see(call: CallSnapshot, now: number): LedgerEvent[] {
    let entry = this.entries.get(call.id);
    // An id may be used again: what left and rings anew, or is placed anew, is another call.
    if (entry?.left === true && (isRinging(call.state) || isPlaced(call.state))) {
      this.entries.delete(call.id);
      entry = undefined;
    }
    if (entry === undefined) {
      // A model that was over before we came is history.
      if (call.state === CallState.None || call.state === CallState.CallStateEnding) return [];
      // A call link is a meeting without a caller.
      const group = call.group || call.state === CallState.Link;
      entry = { ...fresh(call), phase: group ? 'ignored' : 'open' };
      this.entries.set(call.id, entry);
      if (group) return [{ kind: 'group_ignored', call }];
    }
    if (entry.phase === 'ignored') entry.snapshot = call;
    // A call of two that others join later goes on: only the first look decides.
    if (entry.phase !== 'open') return [];
    // The first reason is the cause; what WhatsApp puts into its log later says less.
    entry.snapshot = { ...call, endReason: entry.snapshot.endReason ?? call.endReason };
    call = entry.snapshot;
    if (call.state === null) return [];
    const events: LedgerEvent[] = [];
    if (!entry.announced && !call.outgoing && isRinging(call.state)) {
      entry.announced = true;
      events.push({ kind: 'incoming', call });
    }
    if (call.state === CallState.None) {
      // Before the first state it means "not yet", after it "over".
      return entry.lastState === null ? [] : [...events, ...this.finish(entry, false)];
    }
    if (call.state !== entry.lastState) {
      entry.lastState = call.state;
      events.push({ kind: 'state', call, state: call.state });
    }
    if (call.state === CallState.CallActiveElsewhere) events.push(...this.finish(entry, true));
    if (call.state !== CallState.CallStateEnding) entry.endingSince = null;
    else if (now - (entry.endingSince ??= now) >= ENDING_MS) events.push(...this.finish(entry, false));
    return events;
  }

  private finish(entry: Entry, elsewhere: boolean): LedgerEvent[] {
    entry.phase = 'gone';
    // A call that left before it had a state was never announced to anybody.
    if (entry.lastState === null && !entry.expected) return [];
    return [{ kind: 'gone', call: entry.snapshot, elsewhere: elsewhere || entry.snapshot.elsewhere }];
  }

  private trim(): void {
    for (const [id, entry] of this.entries) {
      if (this.entries.size <= REMEMBERED) return;
      if (entry.phase === 'gone') this.entries.delete(id);
    }
  }
}
