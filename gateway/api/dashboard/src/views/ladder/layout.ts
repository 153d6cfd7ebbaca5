/** The rows of a call's ladder, out of its trace. Pure. */
import type { Lane, TraceEntryView, TraceView } from '../../api.gen.ts';

export const LANES: readonly Lane[] = ['pbx', 'ponte', 'page'];

/** Where something is across the ladder, in percent of its width. */
export const LANE_AT: Readonly<Record<Lane, number>> = { pbx: 15, ponte: 50, page: 85 };

/** How a row looks: an arrow between two lanes, or a note at one. */
export type Shape =
  | { readonly form: 'arrow'; readonly from: number; readonly to: number; readonly middle: number }
  | { readonly form: 'note'; readonly at: number };

export type Mood = 'good' | 'bad' | 'plain';

export interface Row {
  readonly entry: TraceEntryView;
  readonly shape: Shape;
  readonly mood: Mood;
  /** Milliseconds since the row before, where that is long enough to be worth a word; else null. */
  readonly pause_ms: number | null;
  /** What else there is to say: which of several SIP dialogs, and the entry's detail. */
  readonly more: string;
}

const PAUSE_MS = 1000; // what a person notices as waiting

/**
 * What an entry says of the call: a SIP status of 400 or more is bad news, but a challenge (401, 407) is how digest
 * begins, and 487 is the answer to what was cancelled.
 */
export function moodOf(entry: TraceEntryView): Mood {
  if (entry.kind === 'sip') {
    const status = /^([1-6]\d\d)\b/.exec(entry.text);
    if (status === null) return 'plain';
    const code = Number(status[1]);
    if (code < 200) return 'plain';
    if (code < 300) return 'good';
    return code === 401 || code === 407 || code === 487 || code < 400 ? 'plain' : 'bad';
  }
  if (/\b(fail|failed|lost|broken|error|one.way)/i.test(entry.text)) return 'bad';
  return 'plain';
}

function shapeOf(entry: TraceEntryView): Shape {
  const from = LANE_AT[entry.from];
  const to = LANE_AT[entry.to];
  return from === to ? { form: 'note', at: from } : { form: 'arrow', from, to, middle: (from + to) / 2 };
}

/** The rows from first to last; entries of the same instant keep their order. */
export function rowsOf(trace: TraceView): Row[] {
  const entries = [...trace.entries].sort((one, other) => one.at_ms - other.at_ms);
  const several = new Set(entries.map((entry) => entry.leg).filter((leg) => leg !== '')).size > 1;
  return entries.map((entry, index) => {
    const before = entries[index - 1];
    const waited = before === undefined ? 0 : entry.at_ms - before.at_ms;
    const leg = several && entry.leg !== '' ? `#${entry.leg}` : '';
    const more = [leg, entry.detail].filter((one) => one !== '').join(' · ');
    return { entry, shape: shapeOf(entry), mood: moodOf(entry), pause_ms: waited >= PAUSE_MS ? waited : null, more };
  });
}

/** `0.000` to `59.999`, then `1:02.345`: time since the call began. */
export function clock(at_ms: number): string {
  const whole = Math.max(0, Math.round(at_ms));
  const minutes = Math.floor(whole / 60_000);
  const seconds = ((whole % 60_000) / 1000).toFixed(3);
  return minutes === 0 ? seconds : `${minutes}:${seconds.padStart(6, '0')}`;
}
