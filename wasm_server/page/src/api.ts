/** `globalThis.__ponte`: the commands of docs/ARCHITECTURE.md, 8.3. */

import { asPonteError } from './errors.ts';
import type { Engine } from './engine/engine.ts';

export type Commands = Record<string, (...args: unknown[]) => Promise<unknown>>;

/** How the calls of a page are had. */
export interface Line {
  dial(digits: unknown): unknown;
  accept(id: unknown): unknown;
  reject(id: unknown): unknown;
  end(id: unknown): unknown;
  list(): unknown;
}

/** Every failure leaves as `code: sentence`. */
function command(run: (...args: unknown[]) => unknown): (...args: unknown[]) => Promise<unknown> {
  return async (...args) => {
    try {
      return await run(...args);
    } catch (fault) {
      throw asPonteError(fault);
    }
  };
}

export function commands(
  engine: Engine,
  calls: Readonly<Line>,
  probe: () => object,
  stopLoops: () => void,
  more: Readonly<Record<string, (...args: unknown[]) => unknown>>,
): Readonly<Commands> {
  return Object.freeze({
    probe: command(probe),
    answer: command((offer) => engine.answer(offer)),
    startMedia: command((options) => engine.startMedia(options)),
    setCodec: command((codec, maxBitrate) => engine.setCodec(codec, maxBitrate)),
    stopMedia: command(() => {
      engine.stopMedia();
      stopLoops();
      return null;
    }),
    stats: command(() => engine.stats()),
    selfTest: command(() => engine.selfTest()),
    tone: command((options) => engine.tone(options)),
    dial: command((digits) => calls.dial(digits)),
    accept: command((id) => calls.accept(id)),
    reject: command((id) => calls.reject(id)),
    end: command((id) => calls.end(id)),
    calls: command(() => calls.list()),
    ...Object.fromEntries(Object.entries(more).map(([name, run]) => [name, command(run)])),
  });
}
