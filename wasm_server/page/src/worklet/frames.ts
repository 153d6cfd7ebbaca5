/**
 * Encoded frames from the worker that takes them to the worklets that play them.
 *
 * In an isolated page they go through a ring in shared memory, which has one writer and any number of readers, none of
 * which can hold up another. Elsewhere each reader has a message port.
 */

/** Of G.711: 20 ms. Must equal MEDIA_FRAME_BYTES in media/include/abi.h; longer packets are cut. */
export const FRAME_BYTES = 160;

/** What a worklet reads frames from. */
export type Feed = { readonly ring: SharedArrayBuffer } | { readonly port: MessagePort };

export interface Frame {
  readonly bytes: Uint8Array;
  /** Bytes that count, from the first. */
  readonly length: number;
  /** RTP payload type: 0 for PCMU, 8 for PCMA. */
  readonly law: number;
  readonly timestamp: number;
  /** Changes with the connection: timestamps of two streams have nothing to do with each other. */
  readonly stream: number;
}

export type TakeFrame = (bytes: Uint8Array, length: number, law: number, timestamp: number, stream: number) => void;

const SLOTS = 64;
/** A reader that is further behind was away: 0.5 s. It is also so far from the writer that no slot changes under it. */
const MOST_BEHIND = 25;
const FIELDS = 4; // length, law, timestamp, stream
const HEADER_BYTES = 16;
const SLOT_BYTES = FIELDS * 4 + FRAME_BYTES;
export const RING_BYTES = HEADER_BYTES + SLOTS * SLOT_BYTES;

class Ring {
  protected readonly count: Int32Array;
  protected readonly fields: readonly Int32Array[];
  protected readonly bytes: readonly Uint8Array[];

  constructor(buffer: SharedArrayBuffer) {
    this.count = new Int32Array(buffer, 0, 1);
    const starts = Array.from({ length: SLOTS }, (_, slot) => HEADER_BYTES + slot * SLOT_BYTES);
    this.fields = starts.map((start) => new Int32Array(buffer, start, FIELDS));
    this.bytes = starts.map((start) => new Uint8Array(buffer, start + FIELDS * 4, FRAME_BYTES));
  }
}

export class RingWriter extends Ring {
  write(frame: Frame): void {
    const count = Atomics.load(this.count, 0);
    const slot = count & (SLOTS - 1);
    this.fields[slot]?.set([frame.length, frame.law, frame.timestamp | 0, frame.stream]);
    this.bytes[slot]?.set(frame.bytes.subarray(0, frame.length));
    Atomics.store(this.count, 0, (count + 1) | 0);
  }
}

export class RingReader extends Ring {
  private read: number;

  /** Begins with what comes next. */
  constructor(buffer: SharedArrayBuffer) {
    super(buffer);
    this.read = Atomics.load(this.count, 0);
  }

  /** Give what came to `take`, without garbage; `away` is called first when much of it is lost or stale. */
  drain(take: TakeFrame, away: () => void): void {
    const count = Atomics.load(this.count, 0);
    if (((count - this.read) | 0) > MOST_BEHIND) {
      away();
      this.read = (count - 1) | 0;
    }
    for (; this.read !== count; this.read = (this.read + 1) | 0) {
      const slot = this.read & (SLOTS - 1);
      const fields = this.fields[slot];
      const bytes = this.bytes[slot];
      if (fields === undefined || bytes === undefined) continue;
      take(bytes, fields[0] ?? 0, fields[1] ?? 0, fields[2] ?? 0, fields[3] ?? 0);
    }
  }
}

/** Cut a packet into frames; G.711 has one byte a sample, so that each has its own timestamp. */
export function framesOf(packet: Uint8Array, law: number, timestamp: number, stream: number): Frame[] {
  const frames: Frame[] = [];
  for (let start = 0; start < packet.length; start += FRAME_BYTES) {
    const bytes = packet.slice(start, start + FRAME_BYTES);
    frames.push({ bytes, length: bytes.length, law, timestamp: (timestamp + start) | 0, stream });
  }
  return frames;
}
