import { WebSocket } from 'ws';
import { getJson } from './chrome.js';

const MAX_ANSWER_BYTES = 32 * 1024 * 1024; // a screenshot is some MB

/** What went wrong with a page, as an HTTP answer. */
export class TargetError extends Error {
  /**
   * @param {number} status
   * @param {string} code
   * @param {string} message
   */
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** @param {string} sdp */
const answerExpression = (sdp) => `(async () => {
  if (!globalThis.__ponte) return {missing: true};
  try { return {sdp: await globalThis.__ponte.answer(${JSON.stringify(sdp)})}; }
  catch (error) { return {error: String(error && error.message || error)}; }
})()`;

/**
 * Hand an offer to a page over Chrome's loopback CDP and return the page's answer.
 *
 * @param {number} port Chrome's CDP port
 * @param {string} id target id of a page
 * @param {string} sdp the offer
 * @param {number} timeout_ms for all of it
 * @returns {Promise<string>}
 * @throws {TargetError}
 */
export async function answerInTarget(port, id, sdp, timeout_ms) {
  const deadline = Date.now() + timeout_ms;
  const list = await getJson(port, '/json/list', timeout_ms).catch(() => {
    throw new TargetError(503, 'chrome_down', 'Chrome is not running; it is being started');
  });
  const pages = /** @type {{id?: string, type?: string}[]} */ (Array.isArray(list) ? list : []);
  if (!pages.some((page) => page.id === id && page.type === 'page')) {
    throw new TargetError(404, 'no_such_target', 'Chrome has no page with this id');
  }
  const params = { expression: answerExpression(sdp), awaitPromise: true, returnByValue: true, userGesture: true };
  const evaluated = await inTarget(port, id, 'Runtime.evaluate', params, deadline - Date.now());
  const result = /** @type {{value?: {sdp?: unknown, error?: string, missing?: boolean}}} */ (evaluated.result ?? {});
  if (result.value?.missing) {
    throw new TargetError(409, 'not_injected', 'The page does not have the bundle; the gateway has to inject it first');
  }
  if (typeof result.value?.sdp !== 'string') {
    throw new TargetError(502, 'page_refused', result.value?.error ?? 'The page gave no answer');
  }
  return result.value.sdp;
}

/**
 * Send one CDP command to a page.
 *
 * @param {number} port Chrome's CDP port
 * @param {string} id target id
 * @param {string} method
 * @param {Record<string, unknown>} params
 * @param {number} timeout_ms
 * @returns {Promise<Record<string, unknown>>} the command's result
 * @throws {TargetError}
 */
export function inTarget(port, id, method, params, timeout_ms) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/devtools/page/${id}`, {
      perMessageDeflate: false,
      handshakeTimeout: Math.max(timeout_ms, 1),
      maxPayload: MAX_ANSWER_BYTES,
    });
    const timer = setTimeout(() => {
      finish(() => { reject(new TargetError(504, 'page_timeout', 'The page did not answer in time')); });
    }, timeout_ms);
    /** @param {() => void} settle */
    function finish(settle) {
      clearTimeout(timer);
      socket.terminate();
      settle();
    }
    socket.once('open', () => { socket.send(JSON.stringify({ id: 1, method, params })); });
    socket.on('message', (data) => {
      /** @type {{id?: number, result?: Record<string, unknown>, error?: {message?: string}}} */
      const message = JSON.parse(String(data));
      if (message.id !== 1) return;
      finish(() => {
        if (message.error) {
          reject(new TargetError(502, 'page_changed', `The page changed meanwhile: ${message.error.message ?? ''}`));
        } else {
          resolve(message.result ?? {});
        }
      });
    });
    socket.once('error', () => {
      finish(() => { reject(new TargetError(404, 'no_such_target', 'The page went away')); });
    });
    socket.once('close', () => {
      finish(() => { reject(new TargetError(404, 'no_such_target', 'The page went away')); });
    });
  });
}
