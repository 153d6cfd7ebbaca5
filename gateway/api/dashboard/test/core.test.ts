import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { BridgeConfigView, PartsView } from '../src/api.gen.ts';
import { en as callsEn } from '../src/i18n/calls.en.ts';
import { pt as callsPt } from '../src/i18n/calls.pt.ts';
import { en as coreEn } from '../src/i18n/core.en.ts';
import { pt as corePt } from '../src/i18n/core.pt.ts';
import { firstLanguage } from '../src/i18n/index.tsx';
import { match, place } from '../src/router.ts';
import { SseParser } from '../src/sse.ts';
import { changes, formOf, isChanged } from '../src/views/configuration/form.ts';
import { broken, links, way } from '../src/views/overview/path.ts';

describe('words', () => {
  const names = (text: string) => [...text.matchAll(/\{\w+\}/g)].map(([name]) => name).sort();

  it('have the same parameters in both languages', () => {
    for (const [en, pt] of [
      [coreEn, corePt],
      [callsEn, callsPt],
    ] as [Record<string, string>, Record<string, string>][]) {
      for (const [key, text] of Object.entries(en)) assert.deepEqual(names(pt[key] ?? ''), names(text), key);
    }
  });

  it('are in the first language of the browser that is spoken here', () => {
    assert.equal(firstLanguage(null, ['de', 'pt-PT', 'en']), 'pt-BR');
    assert.equal(firstLanguage(null, ['en-GB', 'pt-BR']), 'en');
    assert.equal(firstLanguage(null, ['de']), 'en');
    assert.equal(firstLanguage('pt-BR', ['en']), 'pt-BR');
  });
});

describe('routes', () => {
  it('have parameters and a query', () => {
    assert.deepEqual(match('/calls/:id', '/calls/a%2Fb'), { id: 'a/b' });
    assert.equal(match('/calls/:id', '/calls/'), null);
    assert.equal(match('/calls/:id', '/calls'), null);
    assert.equal(match('/calls/:id', '/calls/%E0'), null);
    const { path, query } = place('#/webhooks/wh_1/?before=2');
    assert.equal(path, '/webhooks/wh_1');
    assert.equal(query.get('before'), '2');
    assert.equal(place('').path, '/');
  });
});

describe('a stream of events', () => {
  const stream = 'retry: 2000\n\n: still here\n\nid: evt_1\nevent: a\ndata: {"x":\ndata: 1}\n\nid: evt_2\r\nevent: b\r\ndata: 2\r\n\r\nevent: c\n\n';
  const wanted = [
    { id: 'evt_1', type: 'a', data: '{"x":\n1}' },
    { id: 'evt_2', type: 'b', data: '2' },
  ];

  it('is the same whole and in pieces', () => {
    for (let size = 1; size <= stream.length; size++) {
      const parser = new SseParser();
      const told = [];
      for (let at = 0; at < stream.length; at += size) told.push(...parser.push(stream.slice(at, at + size)));
      assert.deepEqual(told, wanted, `pieces of ${size}`);
      assert.equal(parser.retryMs, 2000);
    }
  });
});

describe('the path of a call', () => {
  const whole: PartsView = {
    page: { state: 'READY', detail: '' },
    media: { state: 'connected', detail: '' },
    registration: { state: 'registered', detail: '' },
    listener: { state: 'listening', detail: '' },
    phones: { state: 'none', detail: '' },
  };
  const fault = (change: Partial<Record<keyof PartsView, string>>, enabled = true) => {
    const parts = { ...whole };
    for (const [name, state] of Object.entries(change)) parts[name as keyof PartsView] = { state, detail: 'why' };
    const found = broken(way(enabled, parts));
    return found && [found.spot, found.mend];
  };

  it('is whole', () => {
    assert.equal(fault({}), null);
    assert.equal(fault({ registration: 'disabled' }), null);
    assert.equal(fault({ registration: 'disabled', listener: 'off', phones: 'registered' }), null);
    assert.ok(way(true, whole).every((node) => node.mood === 'good'));
  });

  it('is broken at the first part that fails', () => {
    assert.deepEqual(fault({ page: 'DETACHED', media: 'failed', registration: 'failed' }), ['chrome', 'mend.chrome']);
    assert.deepEqual(fault({ page: 'LOST' }), ['chrome', 'mend.lost']);
    assert.deepEqual(fault({ page: 'LOGIN_REQUIRED', media: 'closed' }), ['page', 'mend.login']);
    assert.deepEqual(fault({ page: 'DEGRADED' }), ['page', 'mend.degraded']);
    assert.deepEqual(fault({ media: 'failed' }), ['media', 'mend.media']);
    assert.deepEqual(fault({ registration: 'refused' }), ['sip', 'mend.sip.refused']);
    assert.deepEqual(fault({ registration: 'failed' }), ['sip', 'mend.sip.failed']);
    assert.deepEqual(fault({ registration: 'disabled', listener: 'refused' }), ['sip', 'mend.sip.listener']);
    assert.deepEqual(fault({ registration: 'disabled', listener: 'off' }), ['sip', 'mend.sip.off']);
  });

  it('is cut at one link: into the broken part, or out of the first one', () => {
    const cut = (parts: Partial<PartsView>) => links(way(true, { ...whole, ...parts }));
    assert.deepEqual(cut({}), ['idle', 'whole', 'whole', 'whole']);
    assert.deepEqual(cut({ page: { state: 'DETACHED', detail: '' } }), ['idle', 'cut', 'idle', 'idle']);
    assert.deepEqual(cut({ media: { state: 'failed', detail: '' } }), ['idle', 'whole', 'cut', 'idle']);
    assert.deepEqual(cut({ registration: { state: 'failed', detail: '' } }), ['idle', 'whole', 'whole', 'cut']);
  });

  it('is not broken while a part is on its way, or switched off', () => {
    for (const state of ['ATTACHING', 'INJECTING', 'LOADING']) assert.equal(fault({ page: state, media: 'closed' }), null);
    assert.equal(fault({ media: 'connecting' }), null);
    assert.equal(fault({ registration: 'trying' }), null);
    assert.equal(fault({ page: 'disabled', registration: 'disabled', listener: 'disabled' }, false), null);
  });
});

describe('the configuration form', () => {
  const stored: BridgeConfigView = {
    enabled: true,
    sipServer: 'pbx.example.com',
    sipUser: 'trunk',
    sipPass: '***',
    sipListenPort: 5080,
    sipListenUser: null,
    sipListenSecret: null,
    sipExtension: null,
    wasmServerPort: 9080,
    wasmServerIP: null,
    chromeRemoteURL: 'ws://***@127.0.0.1:9223',
    nodeRemoteHelper: null,
  };
  const edited = (values: Partial<Record<string, string>>, removed: 'sipPass'[] = []) => {
    const form = formOf(stored);
    return { ...form, values: { ...form.values, ...values }, removed: new Set(removed) };
  };

  it('sends what differs and nothing else, so that secrets stay as they are', () => {
    assert.deepEqual(changes(stored, formOf(stored)), { enabled: true });
    assert.equal(isChanged(stored, formOf(stored)), false);
    assert.deepEqual(changes(stored, edited({ sipServer: '', sipListenUser: 'pbx' })), {
      enabled: true,
      sipServer: '',
      sipListenUser: 'pbx',
    });
    assert.equal(isChanged(stored, edited({ sipUser: 'other' })), true);
    assert.equal(isChanged(stored, { ...formOf(stored), enabled: false }), true);
  });

  it('sends a secret that was typed or is to go', () => {
    assert.deepEqual(changes(stored, edited({ sipPass: 'new' })), { enabled: true, sipPass: 'new' });
    assert.deepEqual(changes(stored, edited({}, ['sipPass'])), { enabled: true, sipPass: '' });
    assert.deepEqual(changes(stored, edited({ sipPass: 'new' }, ['sipPass'])), { enabled: true, sipPass: 'new' });
  });

  it('sends ports as numbers, and what is none as it is', () => {
    assert.deepEqual(changes(stored, edited({ sipListenPort: '5090' })), { enabled: true, sipListenPort: 5090 });
    assert.deepEqual(changes(stored, edited({ sipListenPort: 'http' })), { enabled: true, sipListenPort: 'http' });
    assert.deepEqual(changes(stored, edited({ sipListenPort: '' })), { enabled: true, sipListenPort: '' });
  });
});
