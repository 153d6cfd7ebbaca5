import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseConfig } from '../src/config.ts';
import { Meter } from '../src/engine/meters.ts';
import { toneOf } from '../src/engine/engine.ts';
import { PonteError, asPonteError } from '../src/errors.ts';
import { emitter, logger, type PonteEvent } from '../src/events.ts';
import { jidOf, phoneOfJid } from '../src/whatsapp/people.ts';
import { Bindings } from '../src/whatsapp/bindings.ts';
import { type Check, StackProbe, environmentChecks, missingFrom, pageChecks, possible } from '../src/whatsapp/needs.ts';
import { type Findings, judge } from '../src/whatsapp/probe.ts';

const CONFIG = { abi: 1, driver: 'whatsapp', wasm: 'AA==', workletUrl: '/w.js', binding: '__ponteEmit' };

describe('the configuration', () => {
  it('is taken when it is whole', () => {
    assert.deepEqual(parseConfig({ ...CONFIG, later: 1 }), { ...CONFIG, leaseMs: 20_000 });
    assert.equal(parseConfig({ ...CONFIG, leaseMs: 7 }).leaseMs, 7);
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

const GOOD: Findings = {
  hasLoader: true,
  wajs: true,
  injected: true,
  authenticated: true,
  calling: true,
  streamMode: 'MAIN',
  streamInfo: 'NORMAL',
  isolated: true,
  udp: true,
  missing: [],
  can: { incoming: true, outgoing: true },
  stackPending: false,
  unsupported: null,
  waVersion: '2.3000.1',
  readableMs: 0,
  ageMs: 3000,
};

describe('the page state', () => {
  const good = GOOD;
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
  it('says what to do where Chrome gives WebRTC no UDP, and nothing while nobody knows', () => {
    assert.match(judge({ ...good, udp: false, missing: ['x'] }).detail, /--webrtc-ip-handling-policy=default/);
    assert.equal(state({ udp: undefined }), 'READY');
  });
  it('asks for a login before anything else of an account', () => {
    assert.equal(state({ authenticated: false, missing: ['x'], calling: false }), 'LOGIN_REQUIRED');
  });
  it('is DEGRADED where calls cannot work', () => {
    for (const change of [
      { isolated: false },
      { udp: false },
      { calling: false },
      { streamMode: 'CONFLICT' },
      { streamMode: 'TOS_BLOCK' },
      { streamInfo: 'OFFLINE' },
    ]) {
      assert.equal(state(change), 'DEGRADED');
    }
  });
});

describe('what is missing', () => {
  const environment = environmentChecks({
    isolated: true,
    sharedMemory: true,
    peerConnection: true,
    audioWorklet: true,
    microphone: true,
    udp: undefined,
  });
  const wpp = {
    version: '4.6.0',
    loader: { isInjected: true, isReady: true },
    whatsapp: {
      Stream: {},
      CallStore: {},
      ContactStore: {},
      WidFactory: {},
      ApiContact: {},
      lidPnCache: {},
      functions: {
        isLoggedIn: () => true,
        getVoipStackInterface: () => Promise.resolve({}),
        startWAWebVoipCall: () => null,
        queryWidExists: () => Promise.resolve(null),
      },
    },
  };
  const page = { __d: 1, require: 1, Debug: { VERSION: '2.3000.1' } };
  const stack = { type: 'web', acceptCall: () => 1, rejectCall: () => 1, endCall: () => 1 };
  const checked = (
    change: Record<string, unknown> = {},
    functions: Record<string, unknown> = {},
    voip: Record<string, unknown> | null = stack,
  ): Check[] => {
    const whatsapp = { ...wpp.whatsapp, ...change, functions: { ...wpp.whatsapp.functions, ...functions } };
    const scope = { ...page, WPP: { ...wpp, whatsapp } };
    return [...environment, ...pageChecks(new Bindings(scope), voip)];
  };

  it('is nothing in a page that has all, whatever pairing and names would need', () => {
    assert.deepEqual(missingFrom(checked()), []);
    assert.deepEqual(possible(checked()), { incoming: true, outgoing: true });
    assert.ok(checked().some((check) => check.use === 'pairing' && !check.found));
  });
  it('keeps calls from being placed, taken, or both, and is named', () => {
    const without = (checks: Check[]): [string, boolean, boolean] => {
      const { incoming, outgoing } = possible(checks);
      return [missingFrom(checks).join(), incoming, outgoing];
    };
    assert.deepEqual(without(checked({}, { startWAWebVoipCall: undefined })), [
      'startWAWebVoipCall (WAWebVoipStartCall)',
      true,
      false,
    ]);
    assert.deepEqual(without(checked({ CallStore: undefined })), ['CallCollection (WAWebCallCollection)', false, false]);
    assert.deepEqual(without(checked({ Stream: undefined })), ['Stream (WAWebStreamModel)', true, true]);
    assert.deepEqual(without(checked({}, {}, { ...stack, endCall: undefined })), ['endCall of the call stack', false, false]);
    assert.deepEqual(without(checked({}, {}, { ...stack, type: 'native' })), ['call stack of type web', false, false]);
    assert.deepEqual(without(checked({}, {}, null)), ['the call stack behind getVoipStackInterface', false, false]);
  });
  it('is told with what still works and what to do', () => {
    const told = judge({ ...GOOD, missing: ['x'], can: { incoming: true, outgoing: false }, readableMs: 10_000 });
    assert.equal(told.state, 'DEGRADED');
    assert.match(told.detail, /calls from WhatsApp work, calls to WhatsApp do not: not found in WhatsApp Web 2.3000.1: x; update/);
    assert.deepEqual(told.can, { incoming: true, outgoing: false });
  });
  it('is said beside a login, and keeps nobody from logging in', () => {
    const told = judge({ ...GOOD, authenticated: false, missing: ['x'], readableMs: 10_000 });
    assert.equal(told.state, 'LOGIN_REQUIRED');
    assert.match(told.detail, /scan the QR code; .*not found.*: x/);
  });
  it('is a call stack that never answers, after a while', async () => {
    let now = 0;
    const scope = { WPP: { whatsapp: { functions: { getVoipStackInterface: () => Promise.reject(new Error('no')) } } } };
    const probe = new StackProbe(new Bindings(scope), () => now);
    assert.equal(probe.stack, undefined);
    probe.look();
    await new Promise((resolve) => setTimeout(resolve, 0));
    assert.equal(probe.stack, null);
    scope.WPP.whatsapp.functions.getVoipStackInterface = () => Promise.resolve(stack) as never;
    now = 9000;
    probe.look();
    await new Promise((resolve) => setTimeout(resolve, 0));
    assert.equal(probe.stack, null, 'not asked again so soon');
    now = 10_000;
    probe.look();
    await new Promise((resolve) => setTimeout(resolve, 0));
    assert.equal(probe.stack, stack);
  });
});

describe('a wa-js that does not get through its start', () => {
  const loader = {
    isInjected: true,
    isReady: false,
    loaderType: 'meta',
    starts: 0,
    injectLoader(): void {
      this.starts += this.isInjected || this.loaderType !== 'unknown' ? 0 : 1;
    },
  };
  let authenticated: boolean | undefined = true;
  const conn = {
    isAuthenticated: () => {
      if (authenticated === undefined) throw new Error('not there yet');
      return authenticated;
    },
  };
  const bindings = new Bindings({ WPP: { loader, conn }, Debug: { VERSION: '1' } });
  it('is started once more, after its own longest wait', () => {
    assert.equal(bindings.restartLoader(0), false);
    assert.equal(bindings.restartLoader(6999), false);
    authenticated = undefined;
    assert.equal(bindings.restartLoader(7000), false, 'the modules are still coming');
    authenticated = false;
    assert.equal(bindings.restartLoader(8000), false);
    assert.equal(bindings.restartLoader(15_000), true);
    assert.equal(loader.starts, 1);
  });
  it('is left alone once it is ready', () => {
    loader.isInjected = loader.isReady = true;
    assert.equal(bindings.restartLoader(30_000), false);
    assert.equal(bindings.restartLoader(60_000), false);
  });
});
