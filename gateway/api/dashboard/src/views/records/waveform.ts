/** What a recording's picture is made of, and where keys move in it. Pure. */

/** The loudest excursions of one stretch of sound, -1 to 1. */
export interface Peak {
  readonly low: number;
  readonly high: number;
}

/**
 * Reduces samples to one peak a column, so that no click between two pixels is lost.
 *
 * @param samples of one channel, -1 to 1
 * @param columns how many peaks; fewer samples than that give one peak each
 */
export function peaksOf(samples: Float32Array, columns: number): Peak[] {
  const wanted = Math.min(Math.max(0, Math.floor(columns)), samples.length);
  const peaks: Peak[] = [];
  for (let column = 0; column < wanted; column += 1) {
    const begin = Math.floor((column * samples.length) / wanted);
    const end = Math.floor(((column + 1) * samples.length) / wanted);
    let low = 1;
    let high = -1;
    for (let index = begin; index < end; index += 1) {
      const value = samples[index] ?? 0;
      if (value < low) low = value;
      if (value > high) high = value;
    }
    peaks.push({ low, high });
  }
  return peaks;
}

/** By how much to draw all peaks larger: quiet calls fill the picture too, noise alone does not. */
export function gainOf(channels: readonly (readonly Peak[])[]): number {
  let loudest = 0;
  for (const peaks of channels) for (const { low, high } of peaks) loudest = Math.max(loudest, -low, high);
  return loudest < 0.02 ? 1 : Math.min(0.95 / loudest, 8);
}

/** Decoding wants `seconds * rate * 2 channels * 4 bytes`: this keeps that under some 100 MB, or says null. */
export function decodingRate(duration_s: number): number | null {
  if (duration_s <= 25 * 60) return 8000;
  return duration_s <= 70 * 60 ? 3000 : null; // 3000 Hz is the least that browsers decode to
}

const STEPS: Readonly<Record<string, number>> = {
  ArrowLeft: -5,
  ArrowDown: -5,
  ArrowRight: 5,
  ArrowUp: 5,
  PageDown: -30,
  PageUp: 30,
};

/**
 * Where a key of a slider (WAI-ARIA's) moves to, in seconds; null where the key is none.
 *
 * @param key `KeyboardEvent.key`
 * @param at_s now
 * @param duration_s of the recording
 */
export function seek(key: string, at_s: number, duration_s: number): number | null {
  if (key === 'Home') return 0;
  if (key === 'End') return duration_s;
  const step = STEPS[key];
  return step === undefined ? null : Math.min(Math.max(0, at_s + step), duration_s);
}
