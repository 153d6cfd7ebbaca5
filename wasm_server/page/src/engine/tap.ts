/**
 * Takes encoded frames from before Chrome's jitter buffer, which stands at 30 ms and more, to worklets with one of ours.
 *
 * Everything it needs may be missing: encoded transforms, a worker that the page lets us start. Then there is no feed,
 * and the plain track is heard.
 */

import { describe } from '../errors.ts';
import type { Log } from '../events.ts';
import { RING_BYTES, type Feed } from '../worklet/frames.ts';
import type { FromTap, ToTap } from '../worklet/tap.ts';

/** A worker takes tens of milliseconds; the gateway waits 15 s for an answer. */
const START_TIMEOUT_MS = 3000;

export interface TapParts {
  /** As they were before the page could replace them; undefined where the browser has none. */
  readonly Worker: typeof Worker | undefined;
  readonly Transform: (new (worker: Worker) => RTCRtpScriptTransform) | undefined;
  /** What the worker is made with; null while the page does not let us. */
  readonly scriptUrl: () => unknown;
  readonly isolated: boolean;
  readonly log: Log;
}

export class Tap {
  /** Told when a feed begins or ends to be there. */
  onChange: () => void = () => undefined;
  /** Told when frames begin to come that only Chrome can decode, and when G.711 comes again. */
  onWide: (wide: boolean) => void = () => undefined;
  /** Told when the worker failed that the current connection's frames go through: Chrome lets nobody out of it again. */
  onLost: () => void = () => undefined;
  private worker: Worker | null = null;
  private ready = false;
  private attached = false;
  private failed = false;
  private passed = true;
  private settle: () => void = () => undefined;
  private readonly settled = new Promise<void>((resolve) => {
    this.settle = resolve;
  });
  private used = false;
  private ring: SharedArrayBuffer | null = null;

  constructor(private readonly parts: TapParts) {}

  /** Whether frames of the current connection come here, now or as soon as there are any. */
  get available(): boolean {
    return this.attached;
  }

  /** Start the worker, unless it runs; resolves when it is ready or cannot be had. */
  async prepare(): Promise<void> {
    if (this.failed || this.ready) return;
    try {
      if (this.worker === null) this.begin();
    } catch (fault) {
      this.fail(describe(fault));
    }
    await Promise.race([
      this.settled,
      new Promise((resolve) => {
        setTimeout(resolve, START_TIMEOUT_MS);
      }),
    ]);
    if (!this.isReady()) this.fail('it did not start in time');
  }

  /** Take the frames of this receiver instead of those of the last. */
  attach(receiver: RTCRtpReceiver): void {
    const { Transform } = this.parts;
    if (!this.ready || this.worker === null || Transform === undefined) return;
    this.used = true;
    try {
      receiver.transform = new Transform(this.worker);
    } catch (fault) {
      this.fail(describe(fault));
    }
  }

  /** One reader's way to the frames; there must be one only for each port. */
  feed(): Feed | null {
    if (!this.attached || this.worker === null) return null;
    if (this.ring !== null) return { ring: this.ring };
    const { port1, port2 } = new MessageChannel();
    this.say({ type: 'listener', port: port1 }, [port1]);
    return { port: port2 };
  }

  /** Whether Chrome's decoder gets G.711 too; it has nothing to do when nobody listens to the track. */
  pass(passed: boolean): void {
    if (passed === this.passed) return;
    this.passed = passed;
    this.say({ type: 'track', passed });
  }

  /** Asked anew after waiting. */
  private isReady(): boolean {
    return this.ready;
  }

  private begin(): void {
    const { Worker, Transform } = this.parts;
    const url = this.parts.scriptUrl();
    if (Worker === undefined || Transform === undefined || url === null) {
      this.parts.log('info', 'the microphone takes the plain track: the page gives no worker for encoded frames');
      this.failed = true;
      this.settle();
      return;
    }
    const worker = new Worker(url as URL);
    this.worker = worker;
    worker.onerror = (event) => {
      // The page has listeners of its own for faults that nobody handled.
      event.preventDefault();
      this.fail(event.message || 'its script could not be loaded');
    };
    worker.onmessage = (event: MessageEvent<FromTap>) => {
      if (event.data.type === 'ready') {
        this.ready = true;
        this.settle();
      } else if (event.data.type === 'wide') {
        this.onWide(event.data.wide);
      } else if (!this.attached) {
        this.attached = true;
        this.onChange();
      }
    };
    if (this.parts.isolated) this.ring = new SharedArrayBuffer(RING_BYTES);
    this.say({ type: 'start', ring: this.ring });
    this.say({ type: 'track', passed: this.passed });
  }

  private fail(why: string): void {
    if (this.failed) return;
    this.failed = true;
    this.ready = false;
    this.attached = false;
    this.settle();
    this.parts.log('warning', `the microphone takes the plain track: the worker for encoded frames failed (${why})`);
    this.worker?.terminate();
    this.worker = null;
    this.onChange();
    if (this.used) this.onLost();
  }

  private say(message: ToTap, transfer: Transferable[] = []): void {
    this.worker?.postMessage(message, transfer);
  }
}
