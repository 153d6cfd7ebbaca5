import { open, stat } from 'node:fs/promises';
import path from 'node:path';
import { getJson } from './chrome.js';
import { inTarget, TargetError } from './target.js';

const SCREENSHOT_TIMEOUT_MS = 10_000;
const CALLS = '(async () => globalThis.__ponte?.calls ? (await globalThis.__ponte.calls()).length : 0)()';

/**
 * @param {number} port Chrome's CDP port
 * @returns {Promise<{id: string, url: string, title: string}[]>} without query and fragment, which may be personal
 */
export async function listPages(port) {
  const list = await getJson(port, '/json/list', 5000);
  const found = /** @type {{id?: string, type?: string, url?: string, title?: string}[]} */ (Array.isArray(list) ? list : []);
  return found
    .filter((page) => page.type === 'page')
    .map(({ id = '', url = '', title = '' }) => ({ id, url: url.split(/[?#]/)[0] ?? '', title }));
}

/**
 * @param {number} port
 * @param {string} id target id of a page
 * @returns {Promise<Buffer>} a PNG of what the page shows
 * @throws {TargetError}
 */
export async function screenshot(port, id) {
  const result = await inTarget(port, id, 'Page.captureScreenshot', { format: 'png' }, SCREENSHOT_TIMEOUT_MS);
  if (typeof result.data !== 'string') throw new TargetError(502, 'page_refused', 'Chrome gave no picture');
  return Buffer.from(result.data, 'base64');
}

/**
 * @param {number} port
 * @returns {Promise<boolean>} whether no page is in a call; a page that does not answer may be in one
 */
export async function isIdle(port) {
  try {
    for (const { id } of await listPages(port)) {
      const params = { expression: CALLS, awaitPromise: true, returnByValue: true };
      const { result } = /** @type {{result?: {value?: unknown}}} */ (await inTarget(port, id, 'Runtime.evaluate', params, 3000));
      if (result?.value !== 0) return false;
    }
    return true;
  } catch {
    return false;
  }
}

/**
 * @param {string} file
 * @param {number} lines
 * @returns {Promise<string[]>} its last lines, of at most 64 kB
 */
export async function tail(file, lines) {
  const limit = 64 * 1024;
  try {
    const { size } = await stat(file);
    const handle = await open(file);
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(Math.min(size, limit)), 0, Math.min(size, limit), Math.max(size - limit, 0));
      return buffer.subarray(0, bytesRead).toString('utf8').trimEnd().split('\n').slice(-lines);
    } finally {
      await handle.close();
    }
  } catch {
    return [];
  }
}

/** @param {string} profile */
export const chromeLog = (profile) => path.join(profile, 'chrome-err.log');
