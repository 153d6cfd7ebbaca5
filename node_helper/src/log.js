const KEPT = 500;

/** @type {string[]} */
const kept = [];

/** @param {number} lines @returns {string[]} the last lines of this process's log */
export const lastLines = (lines) => kept.slice(-lines);

/**
 * Logs as JSON lines on stderr; stdout is for the ready line alone.
 *
 * @param {'info' | 'warning' | 'error'} level
 * @param {string} event static name of what happened
 * @param {Record<string, unknown>} [fields] no personal data, no tokens
 */
export function log(level, event, fields = {}) {
  const line = JSON.stringify({ timestamp: new Date().toISOString(), level, event, ...fields });
  if (kept.push(line) > KEPT) kept.shift();
  process.stderr.write(`${line}\n`);
}
