/** What a worklet node and its processor say to each other. */

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

export type ToProcessor = ToneOrder | { readonly type: 'stop' };

export interface MeterReading {
  readonly type: 'meter';
  readonly rmsDbfs: number;
  readonly peakDbfs: number;
  readonly clipped: number;
  readonly frames: number;
  /** Unbroken silence up to now. */
  readonly silentMs: number;
}

export type FromProcessor = { readonly type: 'ready' } | MeterReading;
