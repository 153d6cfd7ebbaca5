import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FRAME_BYTES, RING_BYTES, RingReader, RingWriter, framesOf } from '../src/worklet/frames.ts';
import { runTap, type FromTap, type ToTap } from '../src/worklet/tap.ts';

const packet = (value: number, length = FRAME_BYTES): Uint8Array => new Uint8Array(length).fill(value);

interface Taken {
  value: number | undefined;
  length: number;
  law: number;
  timestamp: number;
  stream: number;
}

function drained(reader: RingReader): { taken: Taken[]; away: number } {
  const taken: Taken[] = [];
  let away = 0;
  reader.drain(
    (bytes, length, law, timestamp, stream) => taken.push({ value: bytes[0], length, law, timestamp, stream }),
    () => {
      away += 1;
    },
  );
  return { taken, away };
}

describe('the ring of frames', () => {
  it('gives every reader what came since it began, in order', () => {
    const buffer = new SharedArrayBuffer(RING_BYTES);
    const writer = new RingWriter(buffer);
    const early = new RingReader(buffer);
    for (const frame of framesOf(packet(1), 0, 1000, 1)) writer.write(frame);
    const late = new RingReader(buffer);
    for (const frame of framesOf(packet(2, 80), 8, -1, 2)) writer.write(frame);
    const second = { value: 2, length: 80, law: 8, timestamp: -1, stream: 2 };
    assert.deepEqual(drained(early).taken, [{ value: 1, length: 160, law: 0, timestamp: 1000, stream: 1 }, second]);
    assert.deepEqual(drained(late).taken, [second]);
    assert.deepEqual(drained(early), { taken: [], away: 0 });
  });

  it('says that a reader was away, and gives it the last frame', () => {
    const buffer = new SharedArrayBuffer(RING_BYTES);
    const writer = new RingWriter(buffer);
    const reader = new RingReader(buffer);
    for (let n = 0; n < 200; n++) for (const frame of framesOf(packet(n), 0, n * 160, 1)) writer.write(frame);
    const { taken, away } = drained(reader);
    assert.equal(away, 1);
    assert.deepEqual(taken.map((one) => one.value), [199]);
  });

  it('cuts long packets at their samples', () => {
    const cut = framesOf(packet(3, 400), 0, 0xffffff00, 1);
    assert.deepEqual(
      cut.map((frame) => [frame.length, frame.timestamp >>> 0]),
      [
        [160, 0xffffff00],
        [160, 0xffffffa0],
        [80, 0x40],
      ],
    );
  });
});

describe('the worker', () => {
  interface Encoded {
    readonly data: ArrayBuffer;
    getMetadata(): { payloadType?: number; rtpTimestamp?: number };
  }
  const encoded = (timestamp: number): Encoded => ({
    data: packet(7).buffer as ArrayBuffer,
    getMetadata: () => ({ payloadType: 0, rtpTimestamp: timestamp }),
  });

  function worker() {
    const said: FromTap[] = [];
    const scope: Parameters<typeof runTap>[0] = {
      onmessage: null,
      onrtctransform: null,
      postMessage: (message) => said.push(message),
    };
    runTap(scope);
    const order = (data: ToTap): void => scope.onmessage?.({ data } as MessageEvent<ToTap>);
    return { said, order, attach: (transformer: unknown) => scope.onrtctransform?.({ transformer } as never) };
  }

  it('writes frames to the ring, and passes them on only when told', async () => {
    const ring = new SharedArrayBuffer(RING_BYTES);
    const reader = new RingReader(ring);
    const { said, order, attach } = worker();
    order({ type: 'start', ring });
    order({ type: 'track', passed: false });
    const came = new TransformStream<Encoded, Encoded>();
    const goes = new TransformStream<Encoded, Encoded>();
    attach({ readable: came.readable, writable: goes.writable });
    const source = came.writable.getWriter();
    await source.write(encoded(160));
    order({ type: 'track', passed: true });
    await source.write(encoded(320));
    const { value } = await goes.readable.getReader().read();
    assert.equal(value?.getMetadata().rtpTimestamp, 320);
    assert.deepEqual(
      drained(reader).taken.map((one) => [one.timestamp, one.stream]),
      [
        [160, 1],
        [320, 1],
      ],
    );
    assert.deepEqual(said, [{ type: 'ready' }, { type: 'attached' }]);
  });

  it('gives each listener the frames, until it leaves', async () => {
    const { order, attach } = worker();
    const { port1, port2 } = new MessageChannel();
    order({ type: 'listener', port: port1 });
    const came = new TransformStream<Encoded, Encoded>();
    attach({ readable: came.readable, writable: new WritableStream() });
    const source = came.writable.getWriter();
    const next = new Promise<{ timestamp: number }>((resolve) => {
      port2.onmessage = ({ data }) => {
        resolve(data as { timestamp: number });
      };
    });
    await source.write(encoded(480));
    assert.equal((await next).timestamp, 480);
    const closed = new Promise((resolve) => {
      port2.addEventListener('close', resolve);
    });
    port2.postMessage(null);
    await closed;
  });
});
