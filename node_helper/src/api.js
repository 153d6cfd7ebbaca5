import { makeGuard } from './auth.js';
import { makeServer, sendJson } from './http.js';
import { log } from './log.js';
import { answerInTarget, TargetError } from './target.js';

const MAX_BODY_BYTES = 256 * 1024; // an offer is 3 kB
const ANSWER_TIMEOUT_MS = 12_000; // the gateway waits 15 s for us

/**
 * The helper's HTTP API (docs/ARCHITECTURE.md section 8.7).
 *
 * @param {{token: string, chrome: import('./chrome.js').Chrome, cdp: () => {host: string, port: number}}} parts
 * @returns {import('node:http').Server}
 */
export function makeApi({ token, chrome, cdp }) {
  const guard = makeGuard(token);
  return makeServer((request, response) => {
    const refused = guard(request.headers);
    if (refused) {
      sendJson(response, refused.status, { code: refused.code, detail: refused.detail });
      return;
    }
    route(request, response, { chrome, cdp }).catch((/** @type {unknown} */ error) => {
      if (error instanceof TargetError) {
        sendJson(response, error.status, { code: error.code, detail: error.message });
        return;
      }
      log('error', 'api.failed', { detail: error instanceof Error ? error.message : String(error) });
      if (!response.headersSent) sendJson(response, 500, { code: 'internal', detail: 'The helper failed; see its log' });
      else response.destroy();
    });
  });
}

/**
 * @param {import('./http.js').Request} request
 * @param {import('./http.js').Response} response
 * @param {{chrome: import('./chrome.js').Chrome, cdp: () => {host: string, port: number}}} parts
 */
async function route(request, response, { chrome, cdp }) {
  const path = (request.url ?? '/').split('?')[0] ?? '/';
  const target = /^\/v1\/targets\/([0-9A-Za-z-]{1,64})\/webrtc$/.exec(path)?.[1];
  const method = target || path === '/v1/browser/restart' ? 'POST' : 'GET';
  if (!target && !['/healthz', '/v1/browser', '/v1/browser/restart'].includes(path)) {
    sendJson(response, 404, { code: 'not_found', detail: 'There is nothing at this path' });
  } else if (request.method !== method) {
    response.setHeader('Allow', method);
    sendJson(response, 405, { code: 'method_not_allowed', detail: `Use ${method} here` });
  } else if (path === '/healthz') {
    const ok = chrome.state === 'running';
    sendJson(response, ok ? 200 : 503, {
      status: ok ? 'ok' : 'degraded',
      chrome: chrome.state === 'stopped' ? 'failed' : chrome.state,
      detail: chrome.detail,
    });
  } else if (path === '/v1/browser') {
    sendJson(response, 200, {
      state: chrome.state,
      version: chrome.version,
      pid: chrome.pid,
      restarts: chrome.restarts,
      last_exit: chrome.lastExit,
      cdp: cdp(),
      flags: chrome.flags,
    });
  } else if (path === '/v1/browser/restart') {
    chrome.restart().catch((/** @type {unknown} */ error) => { log('error', 'chrome.restart_failed', { detail: String(error) }); });
    sendJson(response, 202, { state: chrome.state });
  } else {
    const sdp = offer(await readBody(request));
    if (chrome.state !== 'running') throw new TargetError(503, 'chrome_down', chrome.detail);
    sendJson(response, 200, { sdp: await answerInTarget(chrome.port, target ?? '', sdp, ANSWER_TIMEOUT_MS), type: 'answer' });
  }
}

/** @param {import('./http.js').Request} request */
async function readBody(request) {
  /** @type {Buffer[]} */
  const parts = [];
  let size = 0;
  for await (const part of request) {
    size += part.length;
    if (size > MAX_BODY_BYTES) throw new TargetError(413, 'too_large', `The body is larger than ${MAX_BODY_BYTES} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

/**
 * @param {string} body
 * @returns {string} the SDP
 */
function offer(body) {
  /** @type {{sdp?: unknown, type?: unknown} | null} */
  let content = null;
  try {
    content = JSON.parse(body);
  } catch {
    // reported below
  }
  if (typeof content?.sdp !== 'string' || content.type !== 'offer' || !content.sdp.startsWith('v=0')) {
    throw new TargetError(400, 'bad_offer', 'The body must be {"sdp": "v=0…", "type": "offer"}');
  }
  return content.sdp;
}
