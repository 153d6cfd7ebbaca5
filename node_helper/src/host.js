import { statfs } from 'node:fs/promises';

/** A profile grows by tens of megabytes a day; below this Chrome soon fails to write it. */
export const LOW_DISK_BYTES = 200 * 1024 * 1024;

/** Steps of the clock that are told: WhatsApp's protocol and certificates bear more, call records do not. */
const STEP_MS = 5000;

/**
 * @param {string} folder
 * @param {number} [low_bytes] less is too little
 * @returns {Promise<{free_bytes: number, low: boolean} | null>} null where the system does not tell
 */
export async function disk(folder, low_bytes = LOW_DISK_BYTES) {
  const found = await statfs(folder).catch(() => null);
  if (found === null) return null;
  const free_bytes = found.bavail * found.bsize;
  return { free_bytes, low: free_bytes < low_bytes };
}

/** For how long a step is told: somebody looks by then, and the clock may well be right since. */
const STEP_TOLD_MS = 600_000;

/** Tells whether this machine's clock was stepped of late, and how far it is from a peer's. */
export class Clock {
  #wall;
  #steady;
  #offset;
  #stepped = 0;
  #steppedAt = -Infinity;

  /**
   * @param {() => number} [wall] ms since 1970
   * @param {() => number} [steady] ms of a clock that is never set
   */
  constructor(wall = Date.now, steady = () => performance.now()) {
    this.#wall = wall;
    this.#steady = steady;
    this.#offset = wall() - steady();
  }

  /**
   * @param {string | undefined} date the Date header of whoever asks
   * @returns {{now: string, stepped_ms: number, skew_ms: number | null, wrong: boolean}} `stepped_ms` is by how much the
   *   clock was set in the last ten minutes, as far as anybody asked; `skew_ms` how far it is ahead of the asker's, by
   *   whole seconds as the header has them
   */
  read(date) {
    const now = this.#wall();
    const steady = this.#steady();
    const step = Math.round(now - steady - this.#offset);
    if (Math.abs(step) > STEP_MS) {
      this.#stepped = step;
      this.#steppedAt = steady;
      this.#offset = now - steady;
    } else if (steady - this.#steppedAt > STEP_TOLD_MS) {
      this.#stepped = 0;
    }
    const theirs = Date.parse(date ?? '');
    const skew = Number.isNaN(theirs) ? null : Math.round((now - theirs) / 1000) * 1000;
    const wrong = this.#stepped !== 0 || Math.abs(skew ?? 0) > STEP_MS || now < Date.UTC(2024, 0);
    return { now: new Date(now).toISOString(), stepped_ms: this.#stepped, skew_ms: skew, wrong };
  }
}
