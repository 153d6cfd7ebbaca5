import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseConfig } from '../src/config.ts';
import { Meter } from '../src/engine/meters.ts';
import { toneOf } from '../src/engine/engine.ts';
import { PonteError, asPonteError } from '../src/errors.ts';
import { emitter, logger, type PonteEvent } from '../src/events.ts';
import { jidOf, phoneOfJid } from '../src/whatsapp/people.ts';
import { type Findings, judge } from '../src/whatsapp/probe.ts';

const CONFIG = { abi: 1, driver: 'whatsapp', wasm: 'AA==', workletUrl: '/w.js', binding: '__ponteEmit' };

describe('the configuration', () => {
  it('is taken when it is whole', () => {
    assert.deepEqual(parseConfig({ ...CONFIG, later: 1 }), CONFIG);
  });
  it('is refused with the name of the fault', () => {
    assert.throws(() => parseConfig(undefined), /missing/);
    assert.throws(() => parseConfig({ ...CONFIG, abi: 2 }), /abi is 2/);
    assert.throws(() => parseConfig({ ...CONFIG, workletUrl: '' }), /workletUrl/);
  });
});

describe('events', () => {
  it('go to whatever stands under the name now, or nowhere', () => {
    const scope: Record<string, unknown> = {};
    const sent: string[] = [];
    const emit = emitter(scope, 'sink');
    emit({ type: 'media.state', state: 'closed' });
    scope.sink = (json: string) => sent.push(json);
    emit({ type: 'media.state', state: 'connected' });
    scope.sink = () => {
      throw new Error('detached');
    };
    emit({ type: 'media.state', state: 'failed' });
    assert.deepEqual(sent, ['{"type":"media.state","state":"connected"}']);
  });

  it('say a repeated thing once in ten seconds', () => {
    const sent: PonteEvent[] = [];
    let now = 0;
    const log = logger(
      (event) => sent.push(event),
      () => now,
    );
    log('info', 'x');
    log('info', 'x');
    log('info', 'y');
    now = 10_000;
    log('info', 'x');
    assert.equal(sent.length, 3);
  });
});

describe('errors', () => {
  it('read as code and sentence', () => {
    assert.equal(String(new PonteError('busy_line', 'in a call')), 'Error: busy_line: in a call');
    assert.equal(asPonteError('odd').message, 'internal: odd');
    const own = new PonteError('timeout', 'late');
    assert.equal(asPonteError(own), own);
  });
});

describe('a meter', () => {
  const reading = (rmsDbfs: number, more = {}) => ({
    type: 'meter' as const,
    rmsDbfs,
    peakDbfs: rmsDbfs,
    clipped: 0,
    frames: 4000,
    silentMs: 0,
    ...more,
  });

  it('knows nothing before the first reading', () => {
    assert.deepEqual(new Meter().stats(), { rms_dbfs: null, peak_dbfs: null, silent: null, clipped: 0, frames: 0 });
  });

  it('looks at the last second and counts from the start', () => {
    const meter = new Meter();
    for (let n = 0; n < 4; n++) meter.add(reading(0, { clipped: 2 }));
    for (let n = 0; n < 4; n++) meter.add(reading(-20));
    assert.deepEqual(meter.stats(), { rms_dbfs: -20, peak_dbfs: -20, silent: false, clipped: 8, frames: 32000 });
    meter.reset();
    assert.equal(meter.stats().frames, 0);
  });

  it('averages power, not decibels, and calls a second of silence silence', () => {
    const meter = new Meter();
    meter.add(reading(0));
    meter.add(reading(-200, { silentMs: 1000 }));
    assert.deepEqual([meter.stats().rms_dbfs, meter.stats().silent], [-3.01, true]);
    const silent = new Meter();
    silent.add(reading(-200));
    assert.equal(silent.stats().rms_dbfs, -120);
  });
});

describe('a tone order', () => {
  const good = { hz: 440, level_dbfs: -20, ms: 100, to: 'mic' };
  it('is one frequency or two', () => {
    assert.deepEqual(toneOf(good).order.hz, [440, 0]);
    assert.deepEqual(toneOf({ ...good, hz: [697, 1209] }).order.hz, [697, 1209]);
  });
  it('is refused when it makes no sense', () => {
    for (const bad of [
      {},
      null,
      { ...good, hz: -1 },
      { ...good, hz: [1, 2, 3] },
      { ...good, hz: 'a' },
      { ...good, level_dbfs: 3 },
      { ...good, ms: NaN },
      { ...good, ms: 1e9 },
      { ...good, to: 'ear' },
    ]) {
      assert.throws(() => toneOf(bad), /bad_argument/);
    }
  });
});

describe('jids', () => {
  it('lose device and legacy server', () => {
    assert.equal(jidOf('4915112345678:12@s.whatsapp.net'), '4915112345678@c.us');
    assert.equal(jidOf({ toString: () => '12345678901@lid' }), '12345678901@lid');
    assert.equal(jidOf(null), '');
  });
  it('give a number only where there is one', () => {
    assert.equal(phoneOfJid('4915112345678@c.us'), '4915112345678');
    assert.equal(phoneOfJid('12345678901@lid'), null);
    assert.equal(phoneOfJid(''), null);
  });
});

describe('the page state', () => {
  const good: Findings = {
    hasLoader: true,
    wajs: true,
    injected: true,
    authenticated: true,
    calling: true,
    streamMode: 'MAIN',
    streamInfo: 'NORMAL',
    isolated: true,
    missing: [],
    ageMs: 3000,
  };
  const state = (change: Partial<Findings>) => judge({ ...good, ...change }).state;

  it('is READY when everything is there, and when nobody can tell what the gates say', () => {
    assert.equal(state({}), 'READY');
    assert.equal(state({ calling: undefined, streamMode: null, streamInfo: null }), 'READY');
  });
  it('is LOADING for a while, then DEGRADED', () => {
    for (const change of [
      { wajs: false },
      { hasLoader: false },
      { injected: false },
      { authenticated: undefined },
      { missing: ['startWAWebVoipCall'] },
    ]) {
      assert.equal(state(change), 'LOADING');
      assert.equal(state({ ...change, ageMs: 30_000 }), 'DEGRADED');
    }
    assert.equal(state({ streamMode: 'SYNCING' }), 'LOADING');
  });
  it('names what is missing', () => {
    assert.match(judge({ ...good, missing: ['startWAWebVoipCall'], ageMs: 30_000 }).detail, /startWAWebVoipCall/);
  });
  it('asks for a login before anything else of an account', () => {
    assert.equal(state({ authenticated: false, missing: ['x'], calling: false }), 'LOGIN_REQUIRED');
  });
  it('is DEGRADED where calls cannot work', () => {
    for (const change of [
      { isolated: false },
      { calling: false },
      { streamMode: 'CONFLICT' },
      { streamMode: 'TOS_BLOCK' },
      { streamInfo: 'OFFLINE' },
    ]) {
      assert.equal(state(change), 'DEGRADED');
    }
  });
});
