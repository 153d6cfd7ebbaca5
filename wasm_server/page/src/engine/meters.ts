/** Level of one direction over about the last second. */

import type { MeterReading } from '../worklet/messages.ts';

export interface MeterStats {
  readonly rms_dbfs: number | null;
  readonly peak_dbfs: number | null;
  readonly silent: boolean | null;
  /** Clipped samples since the media was started. */
  readonly clipped: number;
  /** Frames metered since the media was started. */
  readonly frames: number;
}

const WINDOW_READINGS = 4; // 1 s of readings 250 ms apart
/** Silence shorter than this is a pause between words. */
const SILENT_AFTER_MS = 1000;
const FLOOR_DBFS = -120;

export class Meter {
  private readings: MeterReading[] = [];
  private clipped = 0;
  private frames = 0;

  add(reading: MeterReading): void {
    this.readings = [...this.readings.slice(1 - WINDOW_READINGS), reading];
    this.clipped += reading.clipped;
    this.frames += reading.frames;
  }

  reset(): void {
    this.readings = [];
    this.clipped = 0;
    this.frames = 0;
  }

  stats(): MeterStats {
    const last = this.readings.at(-1);
    const totals = { clipped: this.clipped, frames: this.frames };
    if (last === undefined) return { rms_dbfs: null, peak_dbfs: null, silent: null, ...totals };
    const frames = this.readings.reduce((sum, reading) => sum + reading.frames, 0);
    const power = this.readings.reduce((sum, reading) => sum + 10 ** (reading.rmsDbfs / 10) * reading.frames, 0);
    return {
      rms_dbfs: rounded(10 * Math.log10(power / Math.max(frames, 1))),
      peak_dbfs: rounded(Math.max(...this.readings.map((reading) => reading.peakDbfs))),
      silent: last.silentMs >= SILENT_AFTER_MS,
      ...totals,
    };
  }
}

function rounded(dbfs: number): number {
  return Math.max(FLOOR_DBFS, Math.round(dbfs * 100) / 100);
}
