import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TraceEntryView, TraceKind } from '../src/api.gen.ts';
import { clock, LANE_AT, moodOf, rowsOf } from '../src/views/ladder/layout.ts';

const entry = (at_ms: number, more: Partial<TraceEntryView> = {}): TraceEntryView => ({
  at_ms,
  from: 'pbx',
  to: 'ponte',
  kind: 'sip',
  text: 'INVITE',
  detail: '',
  leg: '',
  ...more,
});

const trace = (...entries: TraceEntryView[]) => ({ call_id: 'a', started_at: '2026-11-23T12:00:00Z', truncated: false, entries });

describe('the ladder of a call', () => {
  it('draws an arrow from lane to lane, in its direction, and a note where both are the same', () => {
    const [invite, answer, note] = rowsOf(
      trace(entry(0), entry(5, { from: 'ponte', to: 'page', kind: 'page', text: 'dial' }), entry(9, { from: 'page', to: 'page', kind: 'page' })),
    );
    assert.deepEqual(invite?.shape, { form: 'arrow', from: LANE_AT.pbx, to: LANE_AT.ponte, middle: 32.5 });
    assert.deepEqual(answer?.shape, { form: 'arrow', from: LANE_AT.ponte, to: LANE_AT.page, middle: 67.5 });
    assert.deepEqual(note?.shape, { form: 'note', at: LANE_AT.page });
  });

  it('orders by time, keeps the order within an instant, and leaves the trace as it was', () => {
    const late = entry(10, { text: 'BYE' });
    const given = trace(late, entry(0, { text: 'A' }), entry(0, { text: 'B' }));
    assert.deepEqual(rowsOf(given).map((row) => row.entry.text), ['A', 'B', 'BYE']);
    assert.equal(given.entries[0], late);
  });

  it('names pauses of a second and more', () => {
    const rows = rowsOf(trace(entry(0), entry(999), entry(1999)));
    assert.deepEqual(rows.map((row) => row.pause_ms), [null, null, 1000]);
  });

  it('knows good from bad news, and a challenge from a refusal', () => {
    const mood = (text: string, kind: TraceKind = 'sip') => moodOf(entry(0, { text, kind }));
    assert.deepEqual(
      ['INVITE', '100 Trying', '180', '200 OK', '401', '407 Proxy Authentication Required', '487', '486 Busy Here', '603'].map((text) => mood(text)),
      ['plain', 'plain', 'plain', 'good', 'plain', 'plain', 'plain', 'bad', 'bad'],
    );
    assert.equal(mood('ICE failed', 'media'), 'bad');
    assert.equal(mood('connected', 'media'), 'plain');
  });

  it('writes times to the millisecond', () => {
    assert.deepEqual([0, 7, 1234.4, 59_999, 62_345, 600_000].map(clock), ['0.000', '0.007', '1.234', '59.999', '1:02.345', '10:00.000']);
  });

  it('says which dialog where there are several', () => {
    const more = (...legs: string[]) => rowsOf(trace(...legs.map((leg) => entry(0, { leg, detail: 'd' })))).map((row) => row.more);
    assert.deepEqual(more('1', '1', ''), ['d', 'd', 'd']);
    assert.deepEqual(more('1', '2', ''), ['#1 · d', '#2 · d', 'd']);
  });

  it('of an empty trace makes nothing', () => {
    assert.deepEqual(rowsOf(trace()), []);
  });
});
