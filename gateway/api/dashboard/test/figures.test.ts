import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { CallState, Hop, HopView, Quality } from '../src/api.gen.ts';
import { deedsOf, figuresOf, hopsOf, levelOf, meter } from '../src/views/live/figures.ts';

const hop = (name: Hop, more: Partial<HopView> = {}): HopView => ({
  hop: name,
  packets: 50,
  level_dbfs: -20,
  silent: false,
  delay_ms: null,
  ...more,
});

describe('the meter', () => {
  it('goes from the noise of G.711 to full scale', () => {
    assert.deepEqual([-90, -72, -36, 0, 3, null, Number.NaN].map(meter), [0, 0, 50, 100, 100, 0, 0]);
  });
});

describe('the hops of a way', () => {
  it('are well up to the broken one, and unknown behind it', () => {
    const way = [hop('page_speaker'), hop('page_to_gateway', { packets: 0, level_dbfs: null }), hop('gateway_to_phone')];
    assert.deepEqual(hopsOf(way, ['page_to_gateway']).map((one) => one.state), ['well', 'broken', 'unknown']);
  });

  it('are silent where nobody speaks, and unknown where nobody counts', () => {
    const way = [hop('page_speaker', { silent: true, level_dbfs: -70 }), hop('page_to_gateway', { packets: null, level_dbfs: null })];
    assert.deepEqual(hopsOf(way, []).map((one) => one.state), ['silent', 'unknown']);
  });

  it('do not suffer from a break of the other way', () => {
    assert.deepEqual(hopsOf([hop('page_speaker')], ['phone_to_gateway']).map((one) => one.state), ['well']);
  });

  it('tell the level where it is known first', () => {
    assert.equal(levelOf([hop('phone_to_gateway', { level_dbfs: null }), hop('gateway_to_page', { level_dbfs: -31 })]), -31);
    assert.equal(levelOf([]), null);
  });
});

describe('the figures of a direction', () => {
  it('are null before anything is known', () => {
    const none = { level_dbfs: null, delay_ms: null, loss_percent: null, mos: null };
    assert.deepEqual(figuresOf('wa_to_sip', null, null), none);
    const one = { packets: 1, lost: 0, jitter_ms: 0, dropped: 0, keys: 0 };
    const quality: Quality = { codec: 'PCMU', wa_to_sip: one, sip_to_wa: { ...one, delay_ms: 61, mos: 4.2 }, round_trip_ms: null, peer_lost: 0, peer_jitter_ms: 0 };
    assert.deepEqual(figuresOf('wa_to_sip', null, quality), none);
    assert.deepEqual(figuresOf('sip_to_wa', null, quality), { ...none, delay_ms: 61, mos: 4.2 });
  });
});

describe('what can be done to a call', () => {
  it('is what the API allows in its state', () => {
    const can = (state: CallState): boolean[] => Object.values({ ...deedsOf(state) });
    assert.deepEqual(can('RINGING'), [true, true, false]);
    assert.deepEqual(can('ACTIVE'), [true, false, true]);
    assert.deepEqual(can('ENDING'), [false, false, false]);
    assert.deepEqual(can('ENDED'), [false, false, false]);
  });
});
