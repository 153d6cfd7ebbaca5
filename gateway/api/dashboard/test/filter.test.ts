import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { askedOf, filterOf, NO_FILTER, placeOf } from '../src/views/records/filter.ts';

describe('the filters of records', () => {
  it('go through the address bar and back', () => {
    const filter = { ...NO_FILTER, number: '+55 11', answered: 'true' };
    const place = placeOf(filter);
    assert.deepEqual(place, { number: '+55 11', answered: 'true' });
    assert.deepEqual(filterOf(new URLSearchParams({ ...place, other: 'x' })), filter);
    assert.deepEqual(placeOf(NO_FILTER), {});
  });

  it('reach the API as it wants them', () => {
    const asked = askedOf({ ...NO_FILTER, number: '+55 (11) 98888-7777', since: '2026-11-23T12:00', until: 'soon' });
    assert.equal(asked.number, '+5511988887777');
    assert.equal(asked.since, new Date('2026-11-23T12:00').toISOString());
    assert.equal(asked.until, 'soon', 'the API says what is wrong with it');
    assert.deepEqual(askedOf(NO_FILTER), {});
  });
});
