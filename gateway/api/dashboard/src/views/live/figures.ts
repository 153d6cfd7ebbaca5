/** What a live call's figures mean on the screen. Pure. */
import type { CallState, Hop, HopView, PathView, Quality } from '../../api.gen.ts';

/** Where the meter ends on the left: G.711's own noise. */
export const FLOOR_DBFS = -72;

/** How far a level fills its meter, 0 to 100; 0 where it is not known. */
export function meter(level_dbfs: number | null): number {
  if (level_dbfs === null || !Number.isFinite(level_dbfs)) return 0;
  return Math.round(Math.min(1, Math.max(0, 1 - level_dbfs / FLOOR_DBFS)) * 100);
}

export type HopState = 'well' | 'silent' | 'broken' | 'unknown';

export interface HopShown {
  readonly view: HopView;
  readonly state: HopState;
}

/** The hops of one way; what comes after the broken one cannot be well. */
export function hopsOf(way: readonly HopView[], broken: readonly Hop[]): HopShown[] {
  let cut = false;
  return way.map((view) => {
    if (broken.includes(view.hop)) {
      cut = true;
      return { view, state: 'broken' };
    }
    if (cut || (view.packets === null && view.level_dbfs === null)) return { view, state: 'unknown' };
    return { view, state: view.silent === true ? 'silent' : 'well' };
  });
}

/** The level of one way as its first hop that can tell has it: what is said, before anything is lost. */
export function levelOf(way: readonly HopView[]): number | null {
  return way.find((hop) => hop.level_dbfs !== null)?.level_dbfs ?? null;
}

export interface WayFigures {
  readonly level_dbfs: number | null;
  readonly delay_ms: number | null;
  readonly loss_percent: number | null;
  readonly mos: number | null;
}

/** The four figures of one direction, from the path where it tells them and else from the quality so far. */
export function figuresOf(way: 'wa_to_sip' | 'sip_to_wa', path: PathView | null, quality: Quality | null): WayFigures {
  const told = quality?.[way] ?? null;
  return {
    level_dbfs: path === null ? null : levelOf(path[way]),
    delay_ms: told?.delay_ms ?? null,
    loss_percent: told?.loss_percent ?? null,
    mos: told?.mos ?? null,
  };
}

/** What people can do to a call in its state (docs/api.md: anything else is a 409). */
export interface Deeds {
  readonly hangup: boolean;
  readonly reject: boolean;
  readonly talk: boolean; // hold, resume, mute, keys, transfer, recording
}

export function deedsOf(state: CallState): Deeds {
  const over = state === 'ENDING' || state === 'ENDED';
  return { hangup: !over, reject: !over && state !== 'ACTIVE', talk: state === 'ACTIVE' };
}
