/** Waiting for WhatsApp, whose promises may settle late or never. */

import { PonteError } from '../errors.ts';

/** They may settle when the call is connected. */
const ACTING_TIMEOUT_MS = 5000;
const ACTING_LOOK_MS = 25;

/** Wait for what WhatsApp was told to do: its promise, or its doing; not for ever. */
export async function acted(act: () => unknown, done: () => boolean): Promise<void> {
  const work = Promise.resolve()
    .then(act)
    .then(() => true);
  const deadline = Date.now() + ACTING_TIMEOUT_MS;
  for (;;) {
    if (await Promise.race([work, pause(ACTING_LOOK_MS)])) return;
    if (done() || Date.now() > deadline) break;
  }
  // Nobody waits any more, should it fail.
  work.catch(() => undefined);
}

/** The result of what is waited for, but not for ever. */
export async function inTime<Value>(work: Promise<Value>, ms: number): Promise<Value> {
  const done = await Promise.race([work.then((value) => ({ value })), pause(ms)]);
  if (done === false) throw new PonteError('timeout', 'WhatsApp did not answer in time');
  return done.value;
}

export const pause = (ms: number): Promise<false> => new Promise((resolve) => setTimeout(resolve, ms, false));
