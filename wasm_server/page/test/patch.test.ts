import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { LogLevel } from '../src/events.ts';
import { NATIVE, observeMethod, patchConstructor, patchMethod } from '../src/hooks/patch.ts';

class Device {
  readonly asked: unknown[] = [];

  ask(value: unknown): string {
    this.asked.push(value);
    if (value === 'refuse') throw new TypeError('refused');
    return `native ${String(value)}`;
  }
}

function fresh(): { owner: typeof Device.prototype; device: Device; logged: string[]; log: (level: LogLevel, message: string) => void } {
  class Copy extends Device {
    override ask(value: unknown): string {
      return super.ask(value);
    }
  }
  const logged: string[] = [];
  return {
    owner: Copy.prototype,
    device: new Copy(),
    logged,
    log: (_level, message) => {
      logged.push(message);
    },
  };
}

describe('a replaced method', () => {
  it('answers itself, or leaves it to the native one', () => {
    const { owner, device, log } = fresh();
    patchMethod(owner, 'ask', log, (_self, args) => (args[0] === 'ours' ? 'ours' : NATIVE));
    assert.equal(device.ask('ours'), 'ours');
    assert.equal(device.ask('theirs'), 'native theirs');
    assert.deepEqual(device.asked, ['theirs']);
  });

  it('gives way to the native one when it fails itself', () => {
    const { owner, device, log, logged } = fresh();
    patchMethod(owner, 'ask', log, () => {
      throw new Error('our fault');
    });
    assert.equal(device.ask('x'), 'native x');
    assert.deepEqual(logged, ['ask: our fault']);
  });

  it('passes a fault of the native one on, without asking twice', () => {
    const { owner, device, log, logged } = fresh();
    patchMethod(owner, 'ask', log, (_self, _args, native) => native());
    assert.throws(() => device.ask('refuse'), new TypeError('refused'));
    assert.deepEqual(device.asked, ['refuse']);
    assert.deepEqual(logged, []);
  });

  it('may call the native one with other arguments', () => {
    const { owner, device, log } = fresh();
    patchMethod(owner, 'ask', log, (_self, _args, native) => native(['other']));
    assert.equal(device.ask('x'), 'native other');
  });

  it('keeps its name and is left alone where there is nothing to replace', () => {
    const { owner, device, log, logged } = fresh();
    patchMethod(owner, 'ask', log, () => NATIVE);
     
    assert.equal(device.ask.name, 'ask');
    assert.equal(patchMethod(owner, 'absent', log, () => NATIVE), null);
    assert.equal(logged.length, 1);
  });
});

describe('an observed method', () => {
  it('is as the native one, whatever the observer does', () => {
    const { owner, device, log, logged } = fresh();
    observeMethod(owner, 'ask', log, () => {
      throw new Error('our fault');
    });
    assert.equal(device.ask('x'), 'native x');
    assert.throws(() => device.ask('refuse'), TypeError);
    assert.deepEqual(device.asked, ['x', 'refuse']);
    assert.deepEqual(logged, ['ask: our fault']);
  });
});

describe('a replaced constructor', () => {
  class Node {
    constructor(readonly name: string) {
      if (name === 'refuse') throw new RangeError('refused');
    }
  }

  it('keeps instanceof, subclasses and faults', () => {
    const owner: { Node: typeof Node } = { Node };
    const seen: unknown[] = [];
    patchConstructor(owner, 'Node', () => undefined, (args, native) => {
      const made = native();
      seen.push(args[0]);
      return made;
    });
    const made = new owner.Node('x');
    assert.ok(made instanceof owner.Node && made instanceof Node);
    assert.equal(made.constructor, owner.Node);
    class Special extends owner.Node {}
    assert.ok(new Special('y') instanceof Special);
    assert.throws(() => new owner.Node('refuse'), RangeError);
    assert.deepEqual(seen, ['x', 'y']);
  });

  it('keeps the object that was made when we fail after it', () => {
    const logged: string[] = [];
    let count = 0;
    class Counted {
      constructor() {
        count += 1;
      }
    }
    const owner = { Counted };
    patchConstructor(
      owner,
      'Counted',
      (_level, message) => {
        logged.push(message);
      },
      (_args, native) => {
        native();
        throw new Error('our fault');
      },
    );
    assert.ok(new owner.Counted() instanceof Counted);
    assert.equal(count, 1);
    assert.deepEqual(logged, ['Counted: our fault']);
  });
});
