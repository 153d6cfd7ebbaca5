import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { test } from 'node:test';
import { makeGuard } from '../src/auth.js';
import { ConfigError, isLoopback, isPublic, readConfig, splitFlags } from '../src/config.js';
import { mergeFeatures } from '../src/flags.js';
import { Clock, disk } from '../src/host.js';

test('defaults are those of the contract', () => {
  const config = readConfig({});
  assert.deepEqual(
    [config.host, config.port, config.cdpHost, config.profiles[0]?.cdpPort, config.url],
    ['127.0.0.1', 3000, '127.0.0.1', 9223, 'about:blank#ponte'],
  );
});

test('an address that others reach needs a token', () => {
  for (const name of ['PONTE_HELPER_HOST', 'PONTE_HELPER_CDP_HOST']) {
    assert.throws(() => readConfig({ [name]: '0.0.0.0' }), new RegExp(`${name} is not loopback`));
    assert.equal(readConfig({ [name]: '10.1.2.3', PONTE_HELPER_TOKEN: 'secret' }).token, 'secret');
    assert.throws(() => readConfig({ [name]: '8.8.8.8', PONTE_HELPER_TOKEN: 'secret' }), new RegExp(`${name} is a public address`));
  }
  assert.ok(isLoopback('::1') && isLoopback('127.0.0.5') && isLoopback('localhost'));
  assert.ok(!isLoopback('::') && !isLoopback('127.0.0.1.example') && !isLoopback('10.0.0.1'));
});

test('a public address is one that more than a private network reaches', () => {
  for (const address of ['10.0.0.7', '172.31.0.1', '192.168.1.2', '127.0.0.1', 'localhost', '::1', 'fd00::7', 'fe80::1%eth0', '100.64.0.1', '::ffff:10.0.0.7']) {
    assert.ok(!isPublic(address), address);
  }
  for (const address of ['192.0.2.1', '198.51.100.255', '203.0.113.7', '198.18.0.1', '198.19.255.255', '2001:db8::1', '3fff:fff::1']) {
    assert.ok(!isPublic(address), `${address} is for documents or benchmarks: no other network forwards to it`);
  }
  for (const address of ['8.8.8.8', '172.32.0.1', '100.128.0.1', '192.0.3.1', '198.20.0.1', '203.0.114.1', '2001:db9::1', '2600::1', '::ffff:8.8.8.8']) {
    assert.ok(isPublic(address), address);
  }
  assert.ok(!isPublic('0.0.0.0', ['127.0.0.1', '10.0.0.7', '2600::1']));
  assert.ok(isPublic('0.0.0.0', ['10.0.0.7', '8.8.8.8']));
  assert.ok(isPublic('::', ['10.0.0.7', '2600::1']));
  assert.ok(!isPublic('::', ['::1', 'fe80::1', '10.0.0.7']));
});

test('profiles have folders and relay ports of their own', () => {
  const { named, profiles } = readConfig({ PONTE_HELPER_PROFILES: 'sales, support', PONTE_HELPER_PROFILE: '/p', PONTE_HELPER_CDP_PORT: '9300' });
  assert.ok(named);
  assert.deepEqual(profiles, [
    { name: 'sales', folder: '/p/sales', cdpPort: 9300 },
    { name: 'support', folder: '/p/support', cdpPort: 9301 },
  ]);
  const one = readConfig({ PONTE_HELPER_PROFILE: '/p' });
  assert.deepEqual([one.named, one.profiles], [false, [{ name: 'default', folder: '/p', cdpPort: 9223 }]]);
});

test('too little room for the profile is told', async () => {
  const space = await disk(tmpdir(), 0);
  assert.ok(space !== null && space.free_bytes > 0 && !space.low);
  assert.equal((await disk(tmpdir(), space.free_bytes * 2))?.low, true);
  assert.equal(await disk('/there/is/no/such/folder'), null);
});

test('the clock tells a step and a difference', () => {
  let wall = Date.UTC(2026, 0);
  let steady = 0;
  const clock = new Clock(() => wall, () => steady);
  wall += 60_000;
  steady += 60_000;
  assert.deepEqual(clock.read(new Date(wall - 2000).toUTCString()), {
    now: new Date(wall).toISOString(), stepped_ms: 0, skew_ms: 2000, wrong: false,
  });
  assert.equal(clock.read(new Date(wall - 60_000).toUTCString()).wrong, true);
  assert.equal(clock.read('yesterday').skew_ms, null);
  wall += 3_600_000;
  assert.deepEqual([clock.read(undefined).stepped_ms, clock.read(undefined).wrong], [3_600_000, true]);
  for (const [minutes, told] of /** @type {const} */ ([[9, 3_600_000], [2, 0], [600, 0]])) {
    wall += minutes * 60_000;
    steady += minutes * 60_000;
    const { stepped_ms, wrong } = clock.read(undefined);
    assert.deepEqual([stepped_ms, wrong], [told, told !== 0], `${minutes} minutes on`);
  }
  wall -= 60_000;
  assert.deepEqual([clock.read(undefined).stepped_ms, clock.read(undefined).wrong], [-60_000, true]);
});

test('a clock that began without a battery is wrong until it is set, and some minutes more', () => {
  let wall = 0;
  let steady = 0;
  const clock = new Clock(() => wall, () => steady);
  assert.deepEqual([clock.read(undefined).stepped_ms, clock.read(undefined).wrong], [0, true]);
  wall = Date.UTC(2026, 0);
  assert.equal(clock.read(undefined).wrong, true);
  wall += 660_000;
  steady += 660_000;
  assert.equal(clock.read(undefined).wrong, false);
});

test('wrong settings are named', () => {
  for (const env of [
    { PONTE_HELPER_PORT: '65536' },
    { PONTE_HELPER_PORT: '3e3' },
    { PONTE_HELPER_CDP_HOST: 'chrome.example' },
    { PONTE_HELPER_FLAGS: 'no-sandbox' },
    { PONTE_HELPER_FLAGS: '--disable-web-security' },
    { PONTE_HELPER_FLAGS: '--remote-debugging-port=1' },
    { PONTE_HELPER_URL: 'javascript:1' },
    { PONTE_HELPER_TOKEN: 'with space' },
    { PONTE_HELPER_PROFILES: 'sales,../x' },
    { PONTE_HELPER_PROFILES: 'sales,sales' },
    { PONTE_HELPER_PROFILES: 'a,b', PONTE_HELPER_CDP_PORT: '65535' },
    { PONTE_HELPER_MEMORY_MB: 'much' },
    { PONTE_HELPER_TLS_KEY: '/key.pem' },
    { PONTE_HELPER_TLS_CERT: '/no/such/certificate.pem' },
  ]) {
    assert.throws(() => readConfig(env), (error) => error instanceof ConfigError && /PONTE_HELPER_/.test(error.message));
  }
});

test('flags are split at spaces outside of quotes, and feature lists are joined', () => {
  assert.deepEqual(splitFlags(` --a  --b="x y" --c='1,2' `), ['--a', '--b=x y', '--c=1,2']);
  assert.deepEqual(splitFlags(''), []);
  assert.deepEqual(
    mergeFeatures(['--disable-features=A,B', '--x', '--disable-features=C', '--enable-features=D']),
    ['--x', '--disable-features=A,B,C', '--enable-features=D'],
  );
});

test('the token is taken from Bearer or from the password of Basic', () => {
  const guard = makeGuard('s3cret');
  /** @param {string} text */
  const basic = (text) => ({ authorization: `Basic ${Buffer.from(text).toString('base64')}` });
  assert.equal(guard({ authorization: 'Bearer s3cret' }), null);
  assert.equal(guard(basic('anybody:s3cret')), null);
  assert.equal(guard(basic(':s3cret')), null);
  for (const headers of [{}, { authorization: 'Bearer s3cre' }, { authorization: 'Bearer' }, basic('s3cret:'), basic('a:b')]) {
    assert.equal(guard(headers)?.status, 401);
  }
});

test('web pages are refused, with a token or without', () => {
  const open = makeGuard('');
  assert.equal(open({ host: '127.0.0.1:9223' }), null);
  assert.equal(open({ host: '[::1]:9223' }), null);
  assert.equal(open({ host: 'localhost' }), null);
  assert.equal(open({ host: 'rebound.example:9223' })?.code, 'host_refused');
  assert.equal(open({ host: '127.0.0.1:9223', origin: 'https://example.com' })?.code, 'origin_refused');
  assert.equal(makeGuard('t')({ authorization: 'Bearer t', origin: 'null' })?.code, 'origin_refused');
});
