import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeGuard } from '../src/auth.js';
import { ConfigError, isLoopback, readConfig, splitFlags } from '../src/config.js';
import { mergeFeatures } from '../src/flags.js';

test('defaults are those of the contract', () => {
  const config = readConfig({});
  assert.deepEqual(
    [config.host, config.port, config.cdpHost, config.cdpPort, config.url],
    ['127.0.0.1', 3000, '127.0.0.1', 9223, 'about:blank'],
  );
});

test('an address that others reach needs a token', () => {
  for (const name of ['PONTE_HELPER_HOST', 'PONTE_HELPER_CDP_HOST']) {
    assert.throws(() => readConfig({ [name]: '0.0.0.0' }), new RegExp(`${name} is not loopback`));
    assert.equal(readConfig({ [name]: '0.0.0.0', PONTE_HELPER_TOKEN: 'secret' }).token, 'secret');
  }
  assert.ok(isLoopback('::1') && isLoopback('127.0.0.5') && isLoopback('localhost'));
  assert.ok(!isLoopback('::') && !isLoopback('127.0.0.1.example') && !isLoopback('10.0.0.1'));
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
