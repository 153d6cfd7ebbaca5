import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { WebSocket } from 'ws';

const MAIN = fileURLToPath(new URL('../../src/main.js', import.meta.url));
export const TOKEN = 'test-token';

/**
 * A helper process of a test's own; it dies with this process, since its standard input closes.
 *
 * @param {string} profile
 * @param {Record<string, string>} [env]
 */
export async function start(profile, env = {}) {
  const child = spawn(process.execPath, [MAIN, '--with-parent'], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: {
      PATH: process.env.PATH,
      HOME: profile,
      PONTE_HELPER_PORT: '0',
      PONTE_HELPER_CDP_PORT: '0',
      PONTE_HELPER_PROFILE: profile,
      PONTE_HELPER_TOKEN: TOKEN,
      // As root, in a container, on a machine without a GPU
      PONTE_HELPER_FLAGS: '--no-sandbox --disable-gpu --disable-quic',
      ...env,
    },
  });
  let log = '';
  child.stderr.on('data', (part) => { log += part; });
  /** @type {Promise<number | null>} */
  const exit = new Promise((resolve) => { child.once('exit', (code) => { resolve(code); }); });
  const first = await new Promise((resolve, reject) => {
    child.stdout.once('data', (line) => { resolve(String(line)); });
    void exit.then((code) => { reject(new Error(`exit ${code}: ${log}`)); });
  });
  const { port, cdp_port } = JSON.parse(first);
  /**
   * @param {string} where
   * @param {RequestInit} [init]
   * @param {number} [at]
   */
  const ask = (where, init = {}, at = port) =>
    fetch(`http://127.0.0.1:${at}${where}`, {
      ...init,
      headers: { Authorization: `Bearer ${TOKEN}`, ...init.headers },
      signal: AbortSignal.timeout(20_000),
    });
  const browser = async () => (await ask('/v1/browser')).json();
  return { child, exit, port, cdp_port, ask, browser, log: () => log };
}

/**
 * @param {() => Promise<boolean> | boolean} check
 * @param {number} [limit_ms]
 */
export async function until(check, limit_ms = 20_000) {
  for (const deadline = Date.now() + limit_ms; !(await check()); await sleep(50)) {
    if (Date.now() > deadline) throw new Error(`not within ${limit_ms} ms`);
  }
}

/** @param {Awaited<ReturnType<typeof start>>} helper */
export const running = (helper) => until(async () => (await helper.browser()).state === 'running');

/**
 * @param {Awaited<ReturnType<typeof start>>} helper
 * @param {string} [url]
 */
export async function newPage(helper, url = 'about:blank') {
  const answer = await helper.ask(`/json/new?${url}`, { method: 'PUT' }, helper.cdp_port);
  return /** @type {{id: string, webSocketDebuggerUrl: string}} */ (await answer.json());
}

/**
 * @param {string} url
 * @param {string} expression
 * @param {Record<string, string>} [headers]
 * @returns {Promise<unknown>}
 */
export function evaluate(url, expression, headers = { Authorization: `Bearer ${TOKEN}` }) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, { headers, handshakeTimeout: 5000 });
    socket.once('error', reject);
    socket.once('open', () => {
      const params = { expression, awaitPromise: true, returnByValue: true };
      socket.send(JSON.stringify({ id: 1, method: 'Runtime.evaluate', params }));
    });
    socket.on('message', (data) => {
      const message = JSON.parse(String(data));
      if (message.id !== 1) return;
      socket.close();
      resolve(message.result?.result?.value ?? message);
    });
  });
}
