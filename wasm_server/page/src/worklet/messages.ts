/** What a worklet node and its processor say to each other. */

import type { Feed } from './frames.ts';

export const PROCESSOR_NAME = 'ponte-media';
export const STAGE_INPUTS = 8;

export interface StageOptions {
  readonly module: WebAssembly.Module;
  readonly abi: number;
}

export interface ToneOrder {
  readonly type: 'tone';
  readonly hz: readonly [number, number];
  readonly levelDbfs: readonly [number, number];
  readonly ms: number;
}

export type ToProcessor =
  | ToneOrder
  | { readonly type: 'stop' }
  /** Play what comes from there through the jitter buffer, or, with null, nothing but the inputs. */
  | { readonly type: 'listen'; readonly feed: Feed | null };

export interface MeterReading {
  readonly type: 'meter';
  readonly rmsDbfs: number;
  readonly peakDbfs: number;
  readonly clipped: number;
  readonly frames: number;
  /** Unbroken silence up to now. */
  readonly silentMs: number;
}

/** The jitter buffer since it began; times in ms. */
export interface LineReading {
  readonly type: 'line';
  readonly packets: number;
  /** How long a packet waits for its turn, averaged over the last 16. */
  readonly waitMs: number;
  /** How much longer it should; negative when shorter. */
  readonly shortMs: number;
  readonly concealedMs: number;
  readonly lateMs: number;
  readonly takenOutMs: number;
  readonly putInMs: number;
  readonly givenUpMs: number;
  readonly restarts: number;
}

export type FromProcessor = { readonly type: 'ready' } | MeterReading | LineReading;
