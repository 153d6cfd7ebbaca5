/**
 * Reads a call's model, however this build of WhatsApp Web writes it.
 *
 * wa-js's contract names the fields; whether one is a plain field or a getter, a Wid or a text, WhatsApp's own number or
 * an older name differs from build to build.
 */

import type { Bindings, CallModel } from './bindings.ts';
import { endReasonOf, takenElsewhere } from './ending.ts';
import type { CallSnapshot } from './ledger.ts';
import { jidOf } from './people.ts';
import { CallState, isPlaced, isRinging, numberOfName, numberOfState } from './states.ts';

/** The model class of WhatsApp keeps its values under this prefix as well, and behind `get`. */
const KEPT = '__x_';

interface Raw {
  get?(name: string): unknown;
  readonly [name: string]: unknown;
}

export class CallReader {
  /** Of the page's own table of states: value → WhatsApp's number as we know it. */
  private table: { readonly of: object; readonly numbers: Map<unknown, number> } | null = null;
  /** Calls that this page placed for us, or that were seen being placed. */
  private readonly placed = new Set<string>();

  constructor(private readonly bindings: Bindings) {}

  /** Empty while the call has none. */
  id(model: CallModel): string {
    const id = this.field(model, 'id');
    if (typeof id === 'string') return id;
    if (typeof id === 'number') return String(id);
    const text = (id as { _serialized?: unknown } | null | undefined)?._serialized;
    return typeof text === 'string' ? text : '';
  }

  state(model: CallModel): number | null {
    const told = this.bindings.attempt(() => model.getState?.());
    return this.number(told) ?? this.number(this.field(model, 'state'));
  }

  peer(model: CallModel): string {
    return this.bindings.attempt(() => jidOf(this.field(model, 'peerJid') as CallModel['peerJid'])) ?? '';
  }

  outgoing(model: CallModel): boolean {
    return this.flag(model, 'outgoing') || this.placed.has(this.id(model));
  }

  /** Remember that the account placed this call: not every model says so. */
  markPlaced(id: string): void {
    this.placed.add(id);
  }

  forget(id: string): void {
    this.placed.delete(id);
  }

  snapshot(model: CallModel): CallSnapshot {
    const id = this.id(model);
    const state = this.state(model);
    const peer = this.peer(model);
    // Only who calls is told that it rings there.
    if (isPlaced(state)) this.placed.add(id);
    else if (isRinging(state)) this.placed.delete(id);
    return {
      id,
      state,
      outgoing: this.outgoing(model),
      peer,
      video: this.flag(model, 'isVideo'),
      group:
        this.flag(model, 'isGroup') ||
        !['', null, undefined, false].includes(this.field(model, 'groupJid') as string | null | undefined | boolean) ||
        /@(g\.us|call)$/.test(peer),
      elsewhere: takenElsewhere(model),
      endReason: endReasonOf(model),
    };
  }

  private flag(model: CallModel, name: string): boolean {
    return this.field(model, name) === true;
  }

  private field(model: CallModel, name: string): unknown {
    const raw = model as unknown as Raw;
    for (const look of [() => raw[name], () => raw[KEPT + name], () => raw.get?.(name)]) {
      const value = this.bindings.attempt(look);
      if (value !== undefined) return value;
    }
    return undefined;
  }

  private number(value: unknown): number | null {
    if (value === undefined || value === null) return null;
    return this.numbers()?.get(value) ?? numberOfState(value);
  }

  /** The page's own table wins: a build may give the states other values, and it knows its names. */
  private numbers(): Map<unknown, number> | undefined {
    const table = this.bindings.attempt(() => this.bindings.whatsapp?.enums?.CALL_STATES);
    if (typeof table !== 'object' || table === null) return undefined;
    if (this.table?.of !== table) {
      const numbers = new Map<unknown, number>();
      for (const [name, value] of Object.entries(table)) {
        const known = numberOfName(name);
        if (known !== null) numbers.set(value, known);
      }
      this.table = { of: table, numbers };
    }
    return this.table.numbers;
  }
}

/** A call in this state is over, or was never one. */
export function isOverState(state: number | null): boolean {
  return state === null || state === CallState.None || state === CallState.CallStateEnding;
}
