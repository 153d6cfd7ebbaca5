/** Events towards the gateway (docs/ARCHITECTURE.md, 8.3). */

import { describe } from './errors.ts';

export type PageState = 'LOADING' | 'LOGIN_REQUIRED' | 'READY' | 'DEGRADED';
export type MediaState = 'connecting' | 'connected' | 'disconnected' | 'failed' | 'closed';

export type PonteEvent =
  | { type: 'page.state'; state: PageState; detail: string; can: { incoming: boolean; outgoing: boolean } }
  | { type: 'call.incoming'; id: string; peer: string; phone: string | null; name: string | null; video: boolean }
  | { type: 'call.state'; id: string; state: number; end_reason: number | null; outgoing: boolean }
  | { type: 'call.gone'; id: string; end_reason: number | null; elsewhere: boolean }
  | { type: 'media.state'; state: MediaState }
  | { type: 'session.qr'; code: string | null }
  | { type: 'session.code'; code: string }
  | { type: 'log'; level: 'debug' | 'info' | 'warning' | 'error'; message: string };

export type Emit = (event: PonteEvent) => void;
export type LogLevel = Extract<PonteEvent, { type: 'log' }>['level'];
export type Log = (level: LogLevel, message: string) => void;

/**
 * Emit through the CDP binding. The binding is looked up at each event: it comes back under the same name when the
 * gateway attaches again. Without it the event is lost, which the gateway cures by asking calls() and probe().
 */
export function emitter(scope: Record<string, unknown>, binding: string): Emit {
  return (event) => {
    const sink = scope[binding];
    if (typeof sink !== 'function') return;
    try {
      (sink as (json: string) => void)(JSON.stringify(event));
    } catch {
      // Nobody is left to be told.
    }
  };
}

/** Logs that say each thing once in ten seconds, so that a fault inside a hook cannot flood the gateway. */
export function logger(emit: Emit, now: () => number): Log {
  const spoken = new Map<string, number>();
  return (level, message) => {
    const last = spoken.get(message);
    const at = now();
    if (last !== undefined && at - last < 10_000) return;
    if (spoken.size > 200) spoken.clear();
    spoken.set(message, at);
    emit({ type: 'log', level, message });
  };
}

/** Log a fault without the page's data: only the name of the place and the fault's own words. */
export function logFault(log: Log, where: string, fault: unknown): void {
  log('warning', `${where}: ${describe(fault)}`);
}
