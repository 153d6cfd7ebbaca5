import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { readConfig } from '../src/config.js';
import { startHelper } from '../src/helper.js';
import { evaluate, newPage, running, start, TOKEN, until } from './support/process.js';

/** @type {string} */
let profile;
/** @type {Awaited<ReturnType<typeof start>>} */
let helper;

before(async () => {
  profile = await mkdtemp(path.join(tmpdir(), 'ponte-helper-'));
  // What a Chrome in another container left: the lock names a host and a pid that do not exist here.
  await symlink('gone-host-4242', path.join(profile, 'SingletonLock'));
  // What somebody, or an extension, has told this profile: WebRTC has no UDP.
  await mkdir(path.join(profile, 'Default'));
  const preferences = { webrtc: { ip_handling_policy: 'disable_non_proxied_udp' } };
  await writeFile(path.join(profile, 'Default/Preferences'), JSON.stringify(preferences));
  helper = await start(profile);
});

after(async () => {
  helper?.child.stdin.end();
  await helper?.exit;
  await rm(profile, { recursive: true, force: true, maxRetries: 5 });
});

test('the first page is offered to the gateway', async () => {
  await until(async () => (await helper.browser()).state === 'running');
  const listed = /** @type {any[]} */ (await (await helper.ask('/json/list', {}, helper.cdp_port)).json());
  assert.deepEqual(listed.filter((one) => one.type === 'page').map((one) => one.url), ['about:blank#ponte']);
});

test('Chrome runs although a stale lock was in its profile', async () => {
  await running(helper);
  const health = await helper.ask('/healthz');
  assert.equal(health.status, 200);
  const { status, chrome } = await health.json();
  assert.deepEqual({ status, chrome }, { status: 'ok', chrome: 'running' });
  const browser = await helper.browser();
  assert.match(browser.version, /^Chrome\/\d+/);
  assert.deepEqual(browser.cdp, { host: '127.0.0.1', port: helper.cdp_port, tls: false });
  assert.ok(!browser.flags.some((/** @type {string} */ flag) => /mute-audio|disable-web-security/.test(flag)));
  assert.ok(!JSON.stringify(browser).includes(TOKEN));
});

test('everything wants the token', async () => {
  for (const [where, at] of /** @type {const} */ ([['/healthz', helper.port], ['/v1/browser', helper.port], ['/json/version', helper.cdp_port]])) {
    for (const headers of [{ Authorization: '' }, { Authorization: 'Bearer wrong' }]) {
      const answer = await helper.ask(where, { headers }, at);
      assert.equal(answer.status, 401, where);
      assert.match((await answer.json()).detail, /PONTE_HELPER_TOKEN/);
    }
  }
  assert.equal((await helper.ask('/v1/browser/restart', { method: 'POST', headers: { Authorization: '' } })).status, 401);
  const page = await newPage(helper);
  await assert.rejects(evaluate(page.webSocketDebuggerUrl, '1', {}), /401/);
  await assert.rejects(evaluate(page.webSocketDebuggerUrl, '1', { Authorization: 'Bearer no' }), /401/);
  const foreign = { Authorization: `Bearer ${TOKEN}`, Origin: 'https://example.com' };
  await assert.rejects(evaluate(page.webSocketDebuggerUrl, '1', foreign), /403/);
});

test('the relay answers with its own address and carries websockets, large messages too', async () => {
  const version = await (await helper.ask('/json/version', {}, helper.cdp_port)).json();
  assert.match(version.webSocketDebuggerUrl, new RegExp(`^ws://127\\.0\\.0\\.1:${helper.cdp_port}/devtools/browser/`));
  assert.doesNotMatch(version['User-Agent'], /Headless/);
  const page = await newPage(helper);
  assert.match(page.webSocketDebuggerUrl, new RegExp(`^ws://127\\.0\\.0\\.1:${helper.cdp_port}/`));
  assert.equal(await evaluate(page.webSocketDebuggerUrl, '6 * 7'), 42);
  const large = 'x'.repeat(3_000_000);
  assert.equal(await evaluate(page.webSocketDebuggerUrl, `"${large}"`), large);
  assert.equal((await helper.ask('/devtools/inspector.html', {}, helper.cdp_port)).status, 404);
  await assert.rejects(evaluate(`ws://127.0.0.1:${helper.cdp_port}/devtools/browser/not-this-one`, '1'), /404|500/);
});

test('who connects again has its connection before closed; others keep theirs', async () => {
  const version = await (await helper.ask('/json/version', {}, helper.cdp_port)).json();
  const connect = (/** @type {string} */ name) => new Promise((/** @type {(socket: WebSocket) => void} */ resolve, reject) => {
    const headers = { Authorization: `Bearer ${TOKEN}`, ...(name ? { 'Ponte-Controller': name } : {}) };
    const socket = new WebSocket(version.webSocketDebuggerUrl, { headers });
    socket.once('open', () => { resolve(socket); });
    socket.once('error', reject);
  });
  const [first, other, nameless] = await Promise.all([connect('a'.repeat(32)), connect('b'.repeat(32)), connect('')]);
  const again = await connect('a'.repeat(32));
  await until(() => first.readyState === WebSocket.CLOSED);
  assert.deepEqual([again, other, nameless].map((socket) => socket.readyState), Array(3).fill(WebSocket.OPEN));
  const third = await connect('a'.repeat(32));
  await until(() => again.readyState === WebSocket.CLOSED);
  for (const socket of [third, other, nameless]) socket.terminate();
});

test('an offer reaches the page, and each failure has its status', async () => {
  /**
   * @param {string} id
   * @param {unknown} body
   */
  const offer = (id, body = { sdp: 'v=0\r\n', type: 'offer' }) =>
    helper.ask(`/v1/targets/${id}/webrtc`, { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body) });
  const page = await newPage(helper);
  assert.equal((await offer('0123456789ABCDEF')).status, 404);
  assert.equal((await offer(page.id)).status, 409);
  await evaluate(page.webSocketDebuggerUrl, 'globalThis.__ponte = {answer: async (sdp) => "answer to " + sdp}; 1');
  const answer = await offer(page.id);
  assert.equal(answer.status, 200);
  assert.deepEqual(await answer.json(), { sdp: 'answer to v=0\r\n', type: 'answer' });
  await evaluate(page.webSocketDebuggerUrl, '__ponte.answer = async () => { throw new Error("bad_sdp: no audio"); }; 1');
  const refused = await offer(page.id);
  assert.deepEqual([refused.status, (await refused.json()).detail], [502, 'bad_sdp: no audio']);
  for (const body of ['no json', { sdp: 1, type: 'offer' }, { sdp: 'v=0', type: 'answer' }, '[]', 'null']) {
    assert.equal((await offer(page.id, body)).status, 400);
  }
  assert.equal((await offer(page.id, 'x'.repeat(300_000))).status, 413);
  assert.equal((await helper.ask(`/v1/targets/${page.id}/webrtc`)).status, 405);
  assert.equal((await helper.ask('/v2')).status, 404);
});

test('a page that may use the microphone offers loopback candidates, whatever the profile says of WebRTC', async () => {
  const site = createServer((_, response) => { response.setHeader('Content-Type', 'text/html'); response.end('<title>x</title>'); });
  await new Promise((resolve) => { site.listen(0, '127.0.0.1', () => { resolve(null); }); });
  const origin = `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (site.address()).port}`;
  const version = await (await helper.ask('/json/version', {}, helper.cdp_port)).json();
  const socket = new WebSocket(version.webSocketDebuggerUrl, { headers: { Authorization: `Bearer ${TOKEN}` } });
  try {
    await new Promise((resolve) => { socket.once('open', resolve); });
    const params = { origin, permissions: ['audioCapture'] };
    const granted = new Promise((resolve) => { socket.once('message', resolve); });
    socket.send(JSON.stringify({ id: 1, method: 'Browser.grantPermissions', params }));
    await granted;
    const page = await newPage(helper, `${origin}/`);
    await until(async () => (await evaluate(page.webSocketDebuggerUrl, 'location.origin')) === origin);
    const sdp = await evaluate(page.webSocketDebuggerUrl, `(async () => {
      const pc = new RTCPeerConnection();
      pc.addTransceiver('audio');
      const complete = new Promise((resolve) => {
        pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && resolve();
      });
      await pc.setLocalDescription();
      await complete;
      return pc.localDescription.sdp;
    })()`);
    assert.match(String(sdp), /^a=candidate:.* udp \d+ 127\.0\.0\.1 /m);
  } finally {
    socket.terminate();
    site.closeAllConnections();
    site.close();
  }
});

test('a killed Chrome is back within seconds, and the sockets to it close at once', async () => {
  const before_kill = await helper.browser();
  const page = await newPage(helper);
  const socket = new WebSocket(page.webSocketDebuggerUrl, { headers: { Authorization: `Bearer ${TOKEN}` } });
  await new Promise((resolve) => { socket.once('open', resolve); });
  const closed = new Promise((resolve) => { socket.once('close', () => { resolve(Date.now()); }); });
  const killed = Date.now();
  process.kill(before_kill.pid, 'SIGKILL');
  assert.ok((await closed) - killed < 2000);
  await until(async () => (await helper.browser()).restarts > before_kill.restarts);
  await running(helper);
  assert.ok(Date.now() - killed < 10_000);
  const now = await helper.browser();
  assert.notEqual(now.pid, before_kill.pid);
  assert.equal(now.last_exit, 'killed by SIGKILL');
  assert.equal((await helper.ask('/json/version', {}, helper.cdp_port)).status, 200);
});

test('a profile that a living helper uses is left alone', async () => {
  const { pid } = await helper.browser();
  const second = await start(profile);
  try {
    await until(async () => (await second.browser()).last_exit !== null);
    assert.match((await second.browser()).last_exit, /the profile is used by another helper \(process \d+\)/);
    assert.equal((await helper.browser()).pid, pid);
    process.kill(pid, 0);
  } finally {
    second.child.stdin.end();
    await second.exit;
  }
  assert.ok((await readdir(profile)).includes('ponte-helper.json'));
});

test('restart on request', async () => {
  const { pid } = await helper.browser();
  assert.equal((await helper.ask('/v1/browser/restart', { method: 'POST' })).status, 202);
  await until(async () => { const now = await helper.browser(); return now.state === 'running' && now.pid !== pid; });
});

test('SIGTERM closes Chrome so that its profile is written; a Chrome that outlives its helper is ended by the next', async () => {
  const site = createServer((_, response) => { response.setHeader('Content-Type', 'text/html'); response.end('<title>x</title>'); });
  await new Promise((resolve) => { site.listen(0, '127.0.0.1', () => { resolve(null); }); });
  const url = `http://127.0.0.1:${/** @type {import('node:net').AddressInfo} */ (site.address()).port}/`;
  try {
    const page = await newPage(helper, url);
    await until(async () => (await evaluate(page.webSocketDebuggerUrl, 'location.href')) === url);
    await evaluate(page.webSocketDebuggerUrl, 'localStorage.setItem("kept", "yes"); document.cookie = "kept=yes; max-age=999"');
    const { pid } = await helper.browser();
    helper.child.kill('SIGTERM');
    assert.equal(await helper.exit, 0, helper.log());
    assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
    assert.ok(!(await readdir(profile)).includes('SingletonLock'));

    helper = await start(profile);
    await running(helper);
    const orphan = (await helper.browser()).pid;
    helper.child.kill('SIGKILL');
    await helper.exit;
    process.kill(orphan, 0); // it is still there
    helper = await start(profile);
    await running(helper);
    await until(() => { try { process.kill(orphan, 0); return false; } catch { return true; } });
    const again = await newPage(helper, url);
    await until(async () => (await evaluate(again.webSocketDebuggerUrl, 'location.href')) === url);
    assert.equal(await evaluate(again.webSocketDebuggerUrl, 'localStorage.getItem("kept") + document.cookie'), 'yeskept=yes');
  } finally {
    site.closeAllConnections();
    site.close();
  }
});

test('the helper and its Chrome end with their parent', async () => {
  const { pid } = await helper.browser();
  helper.child.stdin.end();
  assert.equal(await helper.exit, 0);
  assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
});

test('a Chrome that does not start is said so, and tried again', async () => {
  const other = await mkdtemp(path.join(tmpdir(), 'ponte-helper-'));
  const broken = await start(other, { PONTE_HELPER_CHROME: '/bin/false' });
  try {
    await until(async () => (await broken.browser()).restarts >= 2);
    const health = await broken.ask('/healthz');
    assert.equal(health.status, 503);
    const { status, detail } = await health.json();
    assert.equal(status, 'degraded');
    assert.match(detail, /exit code 1|starting/);
    assert.equal((await broken.ask('/json/version', {}, broken.cdp_port)).status, 503);
  } finally {
    broken.child.stdin.end();
    await broken.exit;
    await rm(other, { recursive: true, force: true });
  }
});

test('a root user without --no-sandbox is told what to do', { skip: process.getuid?.() !== 0 }, async () => {
  const other = await mkdtemp(path.join(tmpdir(), 'ponte-helper-'));
  const rooted = await start(other, { PONTE_HELPER_FLAGS: '' });
  try {
    await until(async () => (await rooted.browser()).last_exit !== null);
    assert.match((await rooted.browser()).last_exit, /does not run as root then: run the helper as another user/);
  } finally {
    rooted.child.stdin.end();
    await rooted.exit;
    await rm(other, { recursive: true, force: true });
  }
});

test('a Chrome that hangs is killed and started again', async () => {
  const other = await mkdtemp(path.join(tmpdir(), 'ponte-helper-'));
  const config = readConfig({
    PONTE_HELPER_PORT: '0',
    PONTE_HELPER_CDP_PORT: '0',
    PONTE_HELPER_PROFILE: other,
    PONTE_HELPER_FLAGS: '--no-sandbox --disable-gpu --disable-quic',
  });
  const own = await startHelper(config, { check_ms: 200, check_timeout_ms: 1000, checks_lost: 2, stop_ms: 300 });
  try {
    await until(() => own.chrome.state === 'running');
    const pid = own.chrome.pid ?? 0;
    process.kill(pid, 'SIGSTOP');
    await until(() => own.chrome.state === 'running' && own.chrome.pid !== pid, 30_000);
    assert.equal(own.chrome.lastExit, 'killed by SIGKILL');
  } finally {
    await own.stop();
    await rm(other, { recursive: true, force: true, maxRetries: 5 });
  }
});

test('what cannot start says why in one sentence', async () => {
  await assert.rejects(start(profile, { PONTE_HELPER_HOST: '0.0.0.0', PONTE_HELPER_TOKEN: '' }), /exit 2: .*PONTE_HELPER_TOKEN must be set/);
  const holder = createServer();
  await new Promise((resolve) => { holder.listen(0, '127.0.0.1', () => { resolve(null); }); });
  const taken = /** @type {import('node:net').AddressInfo} */ (holder.address()).port;
  await assert.rejects(start(profile, { PONTE_HELPER_PORT: String(taken) }), new RegExp(`exit 1: .*Port ${taken} is already in use`));
  holder.close();
});

test('the log holds no token', async () => {
  assert.ok(!helper.log().includes(TOKEN));
  for (const name of await readdir(profile)) {
    if (name.endsWith('.log')) assert.ok(!(await readFile(path.join(profile, name), 'utf8')).includes(TOKEN));
  }
});
