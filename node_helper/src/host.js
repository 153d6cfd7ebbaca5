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

/** Tells whether this machine's clock was stepped since the helper started, and how far it is from a peer's. */
export class Clock {
  #wall;
  #steady;
  #began;
  #offset;

  /**
   * @param {() => number} [wall] ms since 1970
   * @param {() => number} [steady] ms of a clock that is never set
   */
  constructor(wall = Date.now, steady = () => performance.now()) {
    this.#wall = wall;
    this.#steady = steady;
    this.#offset = wall() - steady();
    this.#began = wall();
  }

  /**
   * @param {string | undefined} date the Date header of whoever asks
   * @returns {{now: string, stepped_ms: number, skew_ms: number | null, wrong: boolean}} `skew_ms` is how far this clock
   *   is ahead of the asker's, by whole seconds as the header has them
   */
  read(date) {
    const now = this.#wall();
    const stepped = Math.round(now - this.#steady() - this.#offset);
    const theirs = Date.parse(date ?? '');
    const skew = Number.isNaN(theirs) ? null : Math.round((now - theirs) / 1000) * 1000;
    const wrong = Math.abs(stepped) > STEP_MS || Math.abs(skew ?? 0) > STEP_MS || this.#began < Date.UTC(2024, 0);
    return { now: new Date(now).toISOString(), stepped_ms: stepped, skew_ms: skew, wrong };
  }
}
