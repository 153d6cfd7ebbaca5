/**
 * Logs as JSON lines on stderr; stdout is for the ready line alone.
 *
 * @param {'info' | 'warning' | 'error'} level
 * @param {string} event static name of what happened
 * @param {Record<string, unknown>} [fields] no personal data, no tokens
 */
export function log(level, event, fields = {}) {
  process.stderr.write(`${JSON.stringify({ timestamp: new Date().toISOString(), level, event, ...fields })}\n`);
}
