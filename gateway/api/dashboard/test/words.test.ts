import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { reasonKey, sipParty, size, span, whatsAppParty } from '../src/views/words.ts';

describe('words of calls', () => {
  it('name the parties by what is known', () => {
    assert.equal(whatsAppParty({ number: '5511', name: 'Maria' }), 'Maria (+5511)');
    assert.equal(whatsAppParty({ number: '5511', name: null }), '+5511');
    assert.equal(whatsAppParty({ number: null, name: 'Maria' }), 'Maria');
    assert.equal(whatsAppParty({ number: null, name: '' }), null);
    assert.equal(sipParty({ user: '1000', name: 'Desk' }), 'Desk (1000)');
    assert.equal(sipParty({ user: '1000', name: '1000' }), '1000');
    assert.equal(sipParty({ user: '1000' }), '1000');
    assert.equal(sipParty({ user: null, name: null }), null);
  });

  it('say how long', () => {
    assert.deepEqual([0, 59.9, 60, 3599, 3600, 36_005, -2].map(span), ['0:00', '0:59', '1:00', '59:59', '1:00:00', '10:00:05', '0:00']);
  });

  it('say how large', () => {
    const number = (value: number, digits = 0): string => value.toFixed(digits);
    assert.deepEqual([0, 999, 1000, 45_600, 21_500_000].map((bytes) => size(bytes, number)), ['0 B', '999 B', '1 kB', '46 kB', '21.5 MB']);
  });

  it('know common ends, and nothing of what an object has by itself', () => {
    assert.equal(reasonKey('busy'), 'call.reason.busy');
    assert.equal(reasonKey('quite_new'), null);
    assert.equal(reasonKey('constructor'), null);
  });
});
