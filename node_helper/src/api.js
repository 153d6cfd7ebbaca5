import { makeGuard } from './auth.js';
import { disk } from './host.js';
import { makeServer, sendJson } from './http.js';
import { lastLines, log } from './log.js';
import { chromeLog, listPages, screenshot, tail } from './pages.js';
import { answerInTarget, TargetError } from './target.js';

const MAX_BODY_BYTES = 256 * 1024; // an offer is 3 kB
const MAX_LOG_LINES = 500;
const ANSWER_TIMEOUT_MS = 12_000; // the gateway waits 15 s for us

/** @typedef {import('./helper.js').Profile} Profile */
/** @typedef {{profiles: Profile[], named: boolean, clock: import('./host.js').Clock}} Parts */
/** @typedef {{request: import('./http.js').Request, response: import('./http.js').Response, parts: Parts, profile: Profile, id: string, query: URLSearchParams}} Asked */

/** @type {{method: string, path: RegExp, answer: (asked: Asked) => Promise<void> | void}[]} */
const ROUTES = [
  { method: 'GET', path: /^\/healthz$/, answer: health },
  { method: 'GET', path: /^\/v1\/browser$/, answer: browser },
  { method: 'POST', path: /^\/v1\/browser\/restart$/, answer: restart },
  { method: 'GET', path: /^\/v1\/targets$/, answer: targets },
  { method: 'POST', path: /^\/v1\/targets\/([0-9A-Za-z-]{1,64})\/webrtc$/, answer: webrtc },
  { method: 'GET', path: /^\/v1\/targets\/([0-9A-Za-z-]{1,64})\/screenshot$/, answer: picture },
  { method: 'GET', path: /^\/v1\/log$/, answer: logTail },
];

/**
 * The helper's HTTP API (docs/ARCHITECTURE.md section 8.7).
 *
 * @param {Parts & {token: string, tls?: import('./config.js').Tls | undefined}} parts
 * @returns {import('node:http').Server}
 */
export function makeApi({ token, tls, ...parts }) {
  const guard = makeGuard(token);
  return makeServer((request, response) => {
    const refused = guard(request.headers);
    if (refused) {
      sendJson(response, refused.status, { code: refused.code, detail: refused.detail });
      return;
    }
    route(request, response, parts).catch((/** @type {unknown} */ error) => {
      if (error instanceof TargetError) {
        sendJson(response, error.status, { code: error.code, detail: error.message });
        return;
      }
      log('error', 'api.failed', { detail: error instanceof Error ? error.message : String(error) });
      if (!response.headersSent) sendJson(response, 500, { code: 'internal', detail: 'The helper failed; see its log' });
      else response.destroy();
    });
  }, tls);
}

/**
 * @param {import('./http.js').Request} request
 * @param {import('./http.js').Response} response
 * @param {Parts} parts
 */
async function route(request, response, parts) {
  const url = new URL(request.url ?? '/', 'http://helper');
  const [, name, rest = url.pathname] = /^\/profiles\/([a-z0-9-]{1,32})(\/.*)$/.exec(url.pathname) ?? [];
  if (name === undefined && url.pathname === '/v1/profiles') {
    if (allow(request, response, 'GET')) sendJson(response, 200, { profiles: parts.profiles.map(summary) });
    return;
  }
  const found = ROUTES.find((one) => one.path.test(rest));
  const profile = name === undefined ? parts.profiles[0] : parts.profiles.find((one) => one.name === name);
  if (found === undefined || profile === undefined) {
    const detail = found ? `There is no profile ${name}; GET /v1/profiles lists them` : 'There is nothing at this path';
    sendJson(response, 404, { code: 'not_found', detail });
  } else if (name === undefined && parts.named && rest !== '/healthz') {
    const detail = 'This helper has several profiles: put /profiles/NAME before the path, as nodeRemoteHelper may have it too';
    sendJson(response, 404, { code: 'profile_missing', detail });
  } else if (allow(request, response, found.method)) {
    const id = found.path.exec(rest)?.[1] ?? '';
    const here = name === undefined ? parts : { ...parts, profiles: [profile] };
    await found.answer({ request, response, parts: here, profile, id, query: url.searchParams });
  }
}

/**
 * @param {import('./http.js').Request} request
 * @param {import('./http.js').Response} response
 * @param {string} method
 */
function allow(request, response, method) {
  if (request.method === method) return true;
  response.setHeader('Allow', method);
  sendJson(response, 405, { code: 'method_not_allowed', detail: `Use ${method} here` });
  return false;
}

/** @param {Profile} profile */
const summary = ({ name, chrome, cdp }) => ({
  name,
  state: chrome.state,
  detail: chrome.detail,
  crash_loop: chrome.crashLoop,
  memory_bytes: chrome.memoryBytes,
  cdp: cdp(),
});

/** @param {Asked} asked */
async function health({ request, response, parts }) {
  const { profiles } = parts;
  // The worst one speaks for all.
  const worst = profiles.find(({ chrome }) => chrome.state !== 'running') ?? profiles[0];
  const space = await disk(worst?.chrome.profile ?? '/');
  const clock = parts.clock.read(request.headers.date);
  const { state = 'failed', detail = '' } = worst?.chrome ?? {};
  const faults = [
    ...(state === 'running' ? [] : [detail]),
    ...(space?.low ? [`only ${Math.round(space.free_bytes / 2 ** 20)} MB are free for the profile: make room`] : []),
    ...(clock.wrong ? ['the clock of this machine was stepped or is wrong: set it by NTP'] : []),
  ];
  sendJson(response, state === 'running' ? 200 : 503, {
    status: faults.length === 0 ? 'ok' : 'degraded',
    chrome: state === 'stopped' ? 'failed' : state,
    detail: faults.join('; ') || detail,
    crash_loop: profiles.some(({ chrome }) => chrome.crashLoop),
    disk: space,
    clock,
    profiles: profiles.map(summary),
  });
}

/** @param {Asked} asked */
function browser({ response, profile: { chrome, cdp } }) {
  sendJson(response, 200, {
    state: chrome.state,
    detail: chrome.detail,
    version: chrome.version,
    pid: chrome.pid,
    restarts: chrome.restarts,
    failures: chrome.failures,
    crash_loop: chrome.crashLoop,
    last_exit: chrome.lastExit,
    memory_bytes: chrome.memoryBytes,
    cdp: cdp(),
    flags: chrome.flags,
  });
}

/** @param {Asked} asked */
function restart({ response, profile: { chrome } }) {
  chrome.restart().catch((/** @type {unknown} */ error) => { log('error', 'chrome.restart_failed', { detail: String(error) }); });
  sendJson(response, 202, { state: chrome.state });
}

/** @param {Asked} asked */
async function targets({ response, profile: { chrome } }) {
  sendJson(response, 200, { targets: await listPages(running(chrome)) });
}

/** @param {Asked} asked */
async function webrtc({ request, response, profile: { chrome }, id }) {
  const sdp = offer(await readBody(request));
  sendJson(response, 200, { sdp: await answerInTarget(running(chrome), id, sdp, ANSWER_TIMEOUT_MS), type: 'answer' });
}

/** @param {Asked} asked */
async function picture({ response, profile: { chrome }, id }) {
  const port = running(chrome);
  if (!(await listPages(port)).some((page) => page.id === id)) {
    throw new TargetError(404, 'no_such_target', 'Chrome has no page with this id; GET /v1/targets lists them');
  }
  log('info', 'page.screenshot_taken', { target_id: id });
  const png = await screenshot(port, id);
  response.writeHead(200, { 'Content-Type': 'image/png', 'Content-Length': png.length, 'Cache-Control': 'no-store' });
  response.end(png);
}

/** @param {Asked} asked */
async function logTail({ response, profile: { chrome }, query }) {
  const wanted = Number(query.get('lines') ?? 100);
  const lines = Number.isInteger(wanted) ? Math.min(Math.max(wanted, 1), MAX_LOG_LINES) : 100;
  sendJson(response, 200, { helper: lastLines(lines), chrome: await tail(chromeLog(chrome.profile), lines) });
}

/** @param {import('./chrome.js').Chrome} chrome */
function running(chrome) {
  if (chrome.state !== 'running') throw new TargetError(503, 'chrome_down', chrome.detail);
  return chrome.port;
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
