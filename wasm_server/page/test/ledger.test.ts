import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { endReasonOf } from '../src/whatsapp/ending.ts';
import { Bindings, type CallModel } from '../src/whatsapp/bindings.ts';
import { CallReader } from '../src/whatsapp/models.ts';
import { Orphans } from '../src/whatsapp/orphans.ts';
import { CallLedger, type CallSnapshot, type LedgerEvent } from '../src/whatsapp/ledger.ts';
import { CallState, isConnected, numberOfState } from '../src/whatsapp/states.ts';

const incoming = (state: number | null, more: Partial<CallSnapshot> = {}): CallSnapshot => ({
  id: 'A',
  state,
  outgoing: false,
  peer: '4915112345678@c.us',
  video: false,
  group: false,
  elsewhere: false,
  endReason: null,
  ...more,
});

const outgoing = (state: number | null, more: Partial<CallSnapshot> = {}): CallSnapshot =>
  incoming(state, { outgoing: true, ...more });

function told(events: readonly LedgerEvent[]): string[] {
  return events.map((event) => {
    const elsewhere = event.kind === 'gone' && event.elsewhere ? ' elsewhere' : '';
    return `${event.kind} ${event.call.id}${event.kind === 'state' ? ` ${event.state}` : ''}${elsewhere}`;
  });
}

/** Feed a call's states one by one; null in place of a list stands for "WhatsApp has no call". */
function story(...looks: (CallSnapshot | null)[]): string[] {
  const ledger = new CallLedger();
  return looks.flatMap((look) => told(ledger.observe(look === null ? [] : [look])));
}

describe('the ledger of calls', () => {
  it('takes a call for over that goes on ending, and the same id for another call once it left', () => {
    const ledger = new CallLedger();
    const look = (call: CallSnapshot | null, now: number): string[] => told(ledger.observe(call === null ? [] : [call], now));
    look(incoming(CallState.CallActive), 0);
    assert.deepEqual(look(incoming(CallState.CallStateEnding), 10), ['state A 13']);
    assert.deepEqual(look(incoming(CallState.CallStateEnding), 2000), []);
    assert.deepEqual(look(incoming(CallState.CallStateEnding), 3000), ['gone A']);
    assert.deepEqual(ledger.busy(), []);
    assert.deepEqual(look(incoming(CallState.ReceivedCall), 3100), [], 'it never left');
    look(null, 4000);
    assert.deepEqual(look(incoming(CallState.CallActive), 5000), [], 'it does not begin in the middle');
    assert.deepEqual(look(incoming(CallState.ReceivedCall), 6000), ['incoming A', 'state A 3']);
  });

  it('tells of the end of a call that was placed, though it never had a state', () => {
    const ledger = new CallLedger();
    ledger.expect(outgoing(null));
    assert.deepEqual(told(ledger.observe([outgoing(CallState.None)])), []);
    assert.deepEqual(told(ledger.observe([])), ['gone A']);
  });

  it('tells again of what rings, and of nothing else', () => {
    const ledger = new CallLedger();
    ledger.observe([incoming(CallState.ReceivedCall), incoming(CallState.CallActive, { id: 'B' }), outgoing(1, { id: 'C' })]);
    assert.deepEqual(told(ledger.ringing()), ['incoming A']);
  });

  it('announces an incoming call once, and each state and the end once', () => {
    const ringing = incoming(CallState.ReceivedCall);
    const active = incoming(CallState.CallActive);
    assert.deepEqual(story(ringing, ringing, active, active, null, null), [
      'incoming A',
      'state A 3',
      'state A 6',
      'gone A',
    ]);
  });

  it('waits for a state that comes late, whichever way it is late', () => {
    for (const late of [null, CallState.None]) {
      assert.deepEqual(story(incoming(late), incoming(late), incoming(CallState.ReceivedCall)), [
        'incoming A',
        'state A 3',
      ]);
    }
  });

  it('says nothing of a call that left before it had a state', () => {
    assert.deepEqual(story(incoming(null), null), []);
    assert.deepEqual(story(incoming(CallState.None), null), []);
  });

  it('does not announce a call that this side placed', () => {
    assert.deepEqual(
      story(outgoing(CallState.Calling), outgoing(CallState.PreacceptReceived), outgoing(CallState.CallActive), null),
      ['state A 1', 'state A 2', 'state A 6', 'gone A'],
    );
  });

  it('takes a call answered on another device for gone at once, and only once', () => {
    const elsewhere = incoming(CallState.CallActiveElsewhere);
    assert.deepEqual(story(incoming(CallState.ReceivedCall), elsewhere, elsewhere, null), [
      'incoming A',
      'state A 3',
      'state A 7',
      'gone A elsewhere',
    ]);
  });

  it('takes None after a state for the end, though the model stays', () => {
    const over = incoming(CallState.None);
    assert.deepEqual(story(incoming(CallState.ReceivedCall), over, over, null), ['incoming A', 'state A 3', 'gone A']);
  });

  it('takes no old model in the collection for a call', () => {
    assert.deepEqual(story(incoming(CallState.CallStateEnding), incoming(CallState.None)), []);
  });

  it('tells the end of a call before the begin of the next', () => {
    const next = incoming(CallState.ReceivedCall, { id: 'B' });
    assert.deepEqual(story(incoming(CallState.ReceivedCall), next), [
      'incoming A',
      'state A 3',
      'gone A',
      'incoming B',
      'state B 3',
    ]);
  });

  it('announces a second call beside the first', () => {
    const ledger = new CallLedger();
    ledger.observe([incoming(CallState.CallActive)]);
    const second = incoming(CallState.ReceivedCall, { id: 'B' });
    assert.deepEqual(told(ledger.observe([incoming(CallState.CallActive), second])), ['incoming B', 'state B 3']);
    assert.deepEqual(ledger.open().map((call) => call.id), ['A', 'B']);
  });

  it('leaves group calls alone and says so once', () => {
    const group = incoming(CallState.ReceivedCall, { group: true });
    const ledger = new CallLedger();
    assert.deepEqual(told(ledger.observe([group])), ['group_ignored A']);
    assert.deepEqual(told(ledger.observe([group])), []);
    assert.deepEqual(ledger.open(), []);
  });

  it('keeps the first reason that a call ended for', () => {
    const ledger = new CallLedger();
    ledger.observe([outgoing(CallState.Calling)]);
    ledger.observe([outgoing(CallState.Calling, { endReason: 3 })]);
    ledger.observe([outgoing(CallState.CallStateEnding, { endReason: 1 })]);
    const [gone] = ledger.observe([]);
    assert.equal(gone?.call.endReason, 3);
  });

  it('forgets old calls and keeps open ones', () => {
    const ledger = new CallLedger();
    const lasting = incoming(CallState.CallActive, { id: 'lasting' });
    for (let n = 0; n < 500; n++) ledger.observe([lasting, incoming(CallState.ReceivedCall, { id: `call ${n}` })]);
    assert.deepEqual(ledger.open().map((call) => call.id), ['lasting', 'call 499']);
  });
});

describe('why a call ended', () => {
  const model = { id: 'A' };
  it('is null while nobody says', () => {
    assert.equal(endReasonOf(model), null);
  });
  it('is what WhatsApp says, where it says it', () => {
    assert.equal(endReasonOf({ ...model, callInfo: { endReason: 4 }, callLogResult: 3 }), 4);
  });
  it('is read from what it logs', () => {
    assert.equal(endReasonOf({ ...model, peerBusy: true, callLogResult: 4 }), 3);
    assert.equal(endReasonOf({ ...model, callLogResult: 2 }), 1);
    assert.equal(endReasonOf({ ...model, callLogResult: 3 }), 1);
    assert.equal(endReasonOf({ ...model, callLogResult: 1 }), 2);
    assert.equal(endReasonOf({ ...model, callLogResult: 4 }), null);
    assert.equal(endReasonOf({ ...model, callLogResult: 7, callFailedReason: 'NotFoundError' }), 5);
    assert.equal(endReasonOf({ ...model, callLogResult: 7, callFailedReason: 'AbortError' }), null);
    assert.equal(endReasonOf({ ...model, userEndedCall: true }), 2);
  });
});

describe('what is left alone', () => {
  it('is a call of a group or by a link, which holds the line until it is gone', () => {
    for (const odd of [incoming(CallState.ReceivedCall, { group: true }), incoming(CallState.Link)]) {
      const ledger = new CallLedger();
      assert.deepEqual(told(ledger.observe([odd])), ['group_ignored A']);
      assert.deepEqual([ledger.open().length, ledger.busy().length], [0, 1]);
      assert.deepEqual(told(ledger.observe([{ ...odd, state: CallState.CallActive }])), []);
      ledger.observe([]);
      assert.equal(ledger.busy().length, 0);
    }
  });

  it('is not a call of two that becomes one of many', () => {
    assert.deepEqual(story(incoming(CallState.CallActive), incoming(CallState.CallActive, { group: true }), null), [
      'state A 6',
      'gone A',
    ]);
  });
});

describe('states', () => {
  it('are numbers, or the names of older builds, or nothing', () => {
    assert.deepEqual(
      [6, 'INCOMING_RING', 'HANDLED_REMOTELY', 'NEW_WORD', NaN, null, undefined].map(numberOfState),
      [6, CallState.ReceivedCall, CallState.CallActiveElsewhere, null, null, null, null],
    );
  });
  it('are connected while both sides are in the call or may be again', () => {
    const connected = Object.values(CallState).filter((state) => isConnected(state));
    assert.deepEqual(connected, [CallState.CallActive, CallState.Rejoining, CallState.ConnectedLonely]);
  });
});

describe('a call as a page writes it', () => {
  const reader = (states?: object): CallReader => {
    const scope = { WPP: { whatsapp: { enums: { CALL_STATES: states } } } };
    return new CallReader(new Bindings(scope));
  };
  const snapshot = (fields: object, states?: object): CallSnapshot => reader(states).snapshot(fields as CallModel);

  it('reads getters, prefixed fields and get()', () => {
    for (const fields of [
      { id: 'A', getState: () => 3, peerJid: '49301@c.us' },
      { __x_id: 'A', __x_state: 3, __x_peerJid: { _serialized: '49301@c.us' } },
      { get: (name: string) => ({ id: 'A', state: '3', peerJid: { user: '49301', server: 'c.us' } })[name] },
      { id: { _serialized: 'A' }, state: 'ReceivedCall', peerJid: '49301:7@s.whatsapp.net' },
    ]) {
      const { id, state, peer } = snapshot(fields);
      assert.deepEqual([id, state, peer], ['A', 3, '49301@c.us']);
    }
  });

  it('follows the table of the page, whatever values it gives to the names', () => {
    const table = { Calling: 10, ReceivedCall: 30, CallActiveElseWhere: 'x', CALL_STATE_ENDING: 3 };
    assert.equal(snapshot({ id: 'A', state: 30 }, table).state, CallState.ReceivedCall);
    assert.equal(snapshot({ id: 'A', state: 'x' }, table).state, CallState.CallActiveElsewhere);
    assert.equal(snapshot({ id: 'A', state: 3 }, table).state, CallState.CallStateEnding);
    assert.equal(snapshot({ id: 'A', state: 6 }, table).state, CallState.CallActive);
  });

  it('knows by its state that a call was placed, and goes on to know it', () => {
    const calls = reader();
    assert.equal(calls.snapshot({ id: 'A', state: 1, outgoing: false }).outgoing, true);
    assert.equal(calls.snapshot({ id: 'A', state: 6 }).outgoing, true);
    assert.equal(calls.snapshot({ id: 'B', state: 6 }).outgoing, false);
  });
});

describe('calls of a gateway that is gone', () => {
  it('are ended after several looks at a mark that is too old, and not before', async () => {
    const ended: number[] = [];
    const calls = { inUse: true, endOurs: () => Promise.resolve(void ended.push(1)) };
    let now = 1000;
    const scope = { [Symbol.for('ponte.owner')]: { id: 'x', at: 0 } };
    const orphans = new Orphans(scope, calls, 20_000, () => now, () => undefined);
    const looks = async (count: number): Promise<number> => {
      for (let one = 0; one < count; one++) await orphans.look();
      return ended.length;
    };
    assert.equal(await looks(5), 0);
    now = 20_001;
    assert.equal(await looks(2), 0);
    scope[Symbol.for('ponte.owner')] = { id: 'x', at: now };
    assert.equal(await looks(1), 0);
    now = 50_000;
    assert.equal(await looks(2), 0);
    assert.equal(await looks(1), 1);
    calls.inUse = false;
    assert.equal(await looks(5), 1);
  });
});
