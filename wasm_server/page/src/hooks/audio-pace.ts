/**
 * How often a context of the page's asks for sound.
 *
 * Without an audio device Chrome renders every 10 ms. Of 16 kHz, as WhatsApp has it, that is a quantum and a quarter: now one
 * at a time, now two, and packets leave 10 and 30 ms apart. Asked for the least delay it renders one quantum every
 * 8 ms. At other rates it would not be even, and stays as the page wants it.
 */

import type { Log } from '../events.ts';
import { patchConstructor } from './patch.ts';

const UNEVEN_HZ = 16_000;

interface PacedWindow {
  readonly AudioContext: unknown;
}

export function installAudioPace(window: PacedWindow, log: Log): void {
  patchConstructor(window, 'AudioContext', log, (args, native) => {
    const [options] = args as [AudioContextOptions | undefined];
    const hint = options?.latencyHint ?? 'interactive';
    // A page that asks for another delay than the usual one has its reasons.
    if (options?.sampleRate !== UNEVEN_HZ || hint !== 'interactive') return native();
    return native([{ ...options, latencyHint: 0 }, ...args.slice(1)]);
  });
}
