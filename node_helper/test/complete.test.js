import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { readConfig } from '../src/config.js';
import { startHelper } from '../src/helper.js';
import { start, TOKEN, until } from './support/process.js';

const FLAGS = '--no-sandbox --disable-gpu --disable-quic';

/** @param {(folder: string) => Promise<void>} work */
async function inFolder(work) {
  const folder = await mkdtemp(path.join(tmpdir(), 'ponte-helper-'));
  try {
    await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/**
 * @param {number} port
 * @param {string} where
 * @param {{method?: string, headers?: Record<string, string>}} [init]
 * @returns {Promise<{status: number, type: string, body: Buffer, json: any}>}
 */
function ask(port, where, { method = 'GET', headers = {} } = {}) {
  return new Promise((resolve, reject) => {
    const options = { host: '::1', port, path: where, method, headers: { Authorization: `Bearer ${TOKEN}`, ...headers }, rejectUnauthorized: false };
    const asked = request(options, (answer) => {
      /** @type {Buffer[]} */
      const parts = [];
      answer.on('data', (part) => parts.push(part));
      answer.once('end', () => {
        const body = Buffer.concat(parts);
        const type = answer.headers['content-type'] ?? '';
        resolve({ status: answer.statusCode ?? 0, type, body, json: type.includes('json') ? JSON.parse(body.toString()) : null });
      });
    });
    asked.once('error', reject);
    asked.end();
  });
}

test('several profiles on one host, over TLS and IPv6', async () => {
  await inFolder(async (folder) => {
    const [cert, key] = [path.join(folder, 'cert.pem'), path.join(folder, 'key.pem')];
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1',
      '-subj', '/CN=helper.test', '-keyout', key, '-out', cert], { stdio: 'ignore' });
    const helper = await start(path.join(folder, 'profiles'), {
      PONTE_HELPER_PROFILES: 'sales,support',
      PONTE_HELPER_HOST: '::1',
      PONTE_HELPER_CDP_HOST: '::1',
      PONTE_HELPER_TLS_CERT: cert,
      PONTE_HELPER_TLS_KEY: key,
    });
    try {
      const browser = async (/** @type {string} */ name) => (await ask(helper.port, `/profiles/${name}/v1/browser`)).json;
      await until(async () => (await ask(helper.port, '/healthz')).status === 200, 40_000);
      const [sales, support] = [await browser('sales'), await browser('support')];
      assert.notEqual(sales.pid, support.pid);
      assert.deepEqual([sales.cdp.host, sales.cdp.tls], ['::1', true]);
      assert.notEqual(sales.cdp.port, support.cdp.port);
      const listed = (await ask(helper.port, '/v1/profiles')).json.profiles;
      assert.deepEqual(listed.map((/** @type {any} */ one) => [one.name, one.state, one.crash_loop]), [
        ['sales', 'running', false], ['support', 'running', false],
      ]);
      const bare = await ask(helper.port, '/v1/browser');
      assert.deepEqual([bare.status, bare.json.code], [404, 'profile_missing']);
      assert.equal((await ask(helper.port, '/profiles/nobody/v1/browser')).status, 404);

      const health = (await ask(helper.port, '/profiles/sales/healthz', { headers: { Date: new Date(Date.now() - 60_000).toUTCString() } })).json;
      assert.equal(health.status, 'degraded');
      assert.match(health.detail, /clock/);
      assert.ok(health.disk.free_bytes > 0);
      assert.equal(health.profiles.length, 1);

      // A picture of a page, for whoever has the token.
      const made = (await ask(sales.cdp.port, '/json/new?about:blank', { method: 'PUT' })).json;
      assert.match(made.webSocketDebuggerUrl, new RegExp(`^wss://\\[::1\\]:${sales.cdp.port}/devtools/page/`));
      const { targets } = (await ask(helper.port, '/profiles/sales/v1/targets')).json;
      assert.ok(targets.some((/** @type {any} */ one) => one.id === made.id && one.url === 'about:blank'));
      const picture = `/profiles/sales/v1/targets/${made.id}/screenshot`;
      const png = await ask(helper.port, picture);
      assert.deepEqual([png.status, png.type, png.body.subarray(1, 4).toString()], [200, 'image/png', 'PNG']);
      assert.equal((await ask(helper.port, picture, { headers: { Authorization: '' } })).status, 401);
      assert.equal((await ask(helper.port, `/profiles/support/v1/targets/${made.id}/screenshot`)).status, 404);

      // One controller to a page, until it lets go.
      const options = { headers: { Authorization: `Bearer ${TOKEN}` }, rejectUnauthorized: false };
      const first = new WebSocket(made.webSocketDebuggerUrl, options);
      await new Promise((resolve, reject) => { first.once('open', resolve); first.once('error', reject); });
      const second = new WebSocket(made.webSocketDebuggerUrl, options);
      await assert.rejects(new Promise((resolve, reject) => { second.once('open', resolve); second.once('error', reject); }), /409/);
      first.close();
      await until(async () => {
        const third = new WebSocket(made.webSocketDebuggerUrl, options);
        const open = await new Promise((resolve) => { third.once('open', () => { resolve(true); }); third.once('error', () => { resolve(false); }); });
        third.terminate();
        return open === true;
      });

      const tail = (await ask(helper.port, '/profiles/sales/v1/log?lines=5')).json;
      assert.ok(tail.helper.length > 0 && tail.helper.length <= 5);
      assert.ok(tail.helper.some((/** @type {string} */ line) => JSON.parse(line).event === 'page.screenshot_taken'));
      assert.ok(Array.isArray(tail.chrome));
      assert.ok(!JSON.stringify(tail).includes(TOKEN));

      // The end of one leaves the other alone.
      process.kill(sales.pid, 'SIGKILL');
      await until(async () => { const now = await browser('sales'); return now.state === 'running' && now.pid !== sales.pid; });
      assert.deepEqual([(await browser('support')).pid, (await browser('support')).restarts], [support.pid, 0]);
    } finally {
      helper.child.stdin.end();
      await helper.exit;
    }
  });
});

test('a Chrome that uses too much is restarted once no page is in a call', async () => {
  await inFolder(async (folder) => {
    const env = { PONTE_HELPER_PORT: '0', PONTE_HELPER_CDP_PORT: '0', PONTE_HELPER_PROFILE: folder, PONTE_HELPER_FLAGS: FLAGS, PONTE_HELPER_MEMORY_MB: '100' };
    const page = 'data:text/html,<script>globalThis.__ponte = {calls: async () => [1]}</script>';
    const own = await startHelper({ ...readConfig(env), url: page }, { check_ms: 300 });
    try {
      await until(() => /more than it may, and is restarted once no call runs/.test(own.chrome.detail));
      const { pid } = own.chrome;
      assert.ok((own.chrome.memoryBytes ?? 0) > 100 * 2 ** 20);
      assert.equal(own.chrome.restarts, 0);
      const [target] = /** @type {any[]} */ (await (await fetch(`http://127.0.0.1:${own.chrome.port}/json/list`)).json()).filter((one) => one.type === 'page');
      const socket = new WebSocket(target.webSocketDebuggerUrl);
      await new Promise((resolve) => { socket.once('open', resolve); });
      socket.send(JSON.stringify({ id: 1, method: 'Runtime.evaluate', params: { expression: '__ponte.calls = async () => []' } }));
      await until(() => own.chrome.restarts === 1 && own.chrome.pid !== pid);
      socket.terminate();
      assert.equal(own.chrome.failures, 0);
    } finally {
      await own.stop();
    }
  });
});

test('a Chrome that ends again and again is told as a crash loop', async () => {
  await inFolder(async (folder) => {
    const env = { PONTE_HELPER_PORT: '0', PONTE_HELPER_CDP_PORT: '0', PONTE_HELPER_PROFILE: folder, PONTE_HELPER_CHROME: '/bin/false' };
    const own = await startHelper(readConfig(env), { backoff_min_ms: 5, loop_failures: 3, start_ms: 500 });
    try {
      await until(() => own.chrome.crashLoop);
      const health = await (await fetch(`http://127.0.0.1:${own.port}/healthz`)).json();
      assert.equal(health.crash_loop, true);
      await until(() => /Chrome ended \d+ times in a row: exit code 1/.test(own.chrome.detail));
    } finally {
      await own.stop();
      await sleep(700); // the launcher looks for the port, and at the log in the folder, until its time is up
    }
  });
});
