/**
 * One place in an audio context where sound passes through media.wasm.
 *
 * Sound flows from the first moment: directly while the worklet is on its way ('plain'), then through it ('wasm'), with
 * a cross-fade between. If the worklet cannot be had, or dies, it stays or becomes plain again.
 */

import type { Log } from '../events.ts';
import { logFault } from '../events.ts';
import type { NativeGraph } from '../hooks/audio-graph.ts';
import type { Feed } from '../worklet/frames.ts';
import {
  STAGE_INPUTS,
  type FromProcessor,
  type LineReading,
  type MeterReading,
  type ToneOrder,
} from '../worklet/messages.ts';
import type { Worklets } from './worklets.ts';

const CROSSFADE_S = 0.02;

export type StagePath = 'plain' | 'wasm';

export interface StageListener {
  meter(reading: MeterReading): void;
  /** Figures of the jitter buffer, while the stage has a feed. */
  line?(reading: LineReading): void;
  /** The worklet could not be had, or died: only what is fed as nodes is heard. */
  failed?(): void;
}

export class Stage {
  /** Mono, whatever comes in. */
  readonly output: GainNode;
  private readonly direct: GainNode;
  private readonly feeds: (AudioNode | undefined)[] = [];
  private worklet: { node: AudioWorkletNode; gain: GainNode } | null = null;
  private current: StagePath = 'plain';
  private closed = false;
  private broken = false;
  private listened: Feed | null = null;

  constructor(
    readonly context: BaseAudioContext,
    private readonly graph: NativeGraph,
    worklets: Worklets,
    private readonly listener: StageListener,
    private readonly log: Log,
  ) {
    this.output = mono(context);
    this.direct = mono(context);
    graph.connect(this.direct, this.output);
    worklets.node(context).then(
      (node) => {
        this.enter(node);
      },
      (fault: unknown) => {
        logFault(log, 'audio goes on without the media module', fault);
        this.fail();
      },
    );
  }

  get path(): StagePath {
    return this.current;
  }

  /** No worklet will play anything here any more. */
  get failed(): boolean {
    return this.broken;
  }

  /** Have the worklet play encoded frames, as soon as it is there; null ends that. */
  listen(feed: Feed | null): void {
    this.listened = feed;
    if (this.worklet !== null) this.order(this.worklet.node, feed);
  }

  feed(source: AudioNode): void {
    if (this.closed || this.feeds.includes(source)) return;
    const free = this.feeds.indexOf(undefined);
    this.feeds[free < 0 ? this.feeds.length : free] = source;
    if (this.current === 'plain') this.graph.connect(source, this.direct);
    if (this.worklet !== null) this.graph.connect(source, this.worklet.node, 0, this.slot(source));
  }

  unfeed(source: AudioNode): void {
    const at = this.feeds.indexOf(source);
    if (at < 0) return;
    for (const to of [this.direct, this.worklet?.node]) if (to !== undefined) this.cut(source, to);
    this.feeds[at] = undefined;
  }

  /** The page cut all outputs of a source, ours among them: connect it anew where it still counts. */
  forget(source: AudioNode): void {
    const at = this.feeds.indexOf(source);
    if (at >= 0) this.feeds[at] = undefined;
  }

  tone(order: ToneOrder): boolean {
    if (this.current !== 'wasm' || this.worklet === null) return false;
    this.worklet.node.port.postMessage(order);
    return true;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    for (const source of this.feeds) if (source !== undefined) this.unfeed(source);
    this.dropWorklet();
    this.graph.disconnect(this.direct);
    this.graph.disconnect(this.output);
  }

  /** Sources beyond the last input share it; the browser adds them there. */
  private slot(source: AudioNode): number {
    return Math.min(this.feeds.indexOf(source), STAGE_INPUTS - 1);
  }

  private enter(node: AudioWorkletNode): void {
    if (this.closed) {
      node.port.postMessage({ type: 'stop' });
      return;
    }
    const gain = mono(this.context);
    gain.gain.value = 0;
    this.worklet = { node, gain };
    node.onprocessorerror = () => {
      this.log('warning', 'the media module failed in its worklet; audio goes on without it');
      this.leave();
    };
    node.port.onmessage = (event: MessageEvent<FromProcessor>) => {
      if (event.data.type === 'meter') this.listener.meter(event.data);
      else if (event.data.type === 'line') this.listener.line?.(event.data);
      else this.crossfade();
    };
    if (this.listened !== null) this.order(node, this.listened);
    this.graph.connect(gain, this.output);
    this.graph.connect(node, gain);
    for (const source of this.feeds) {
      if (source !== undefined) this.graph.connect(source, node, 0, this.slot(source));
    }
  }

  private crossfade(): void {
    if (this.worklet === null || this.closed) return;
    this.current = 'wasm';
    ramp(this.worklet.gain.gain, 1, this.context);
    ramp(this.direct.gain, 0, this.context);
    // Five times the fade: a loaded machine renders late, and a hidden page's timers are later still.
    setTimeout(() => {
      if (this.current !== 'wasm') return;
      for (const source of this.feeds) if (source !== undefined) this.cut(source, this.direct);
    }, CROSSFADE_S * 5000);
  }

  private order(node: AudioWorkletNode, feed: Feed | null): void {
    node.port.postMessage({ type: 'listen', feed }, feed !== null && 'port' in feed ? [feed.port] : []);
  }

  private fail(): void {
    this.broken = true;
    if (!this.closed) this.listener.failed?.();
  }

  private leave(): void {
    this.dropWorklet();
    if (this.closed) return;
    this.fail();
    this.current = 'plain';
    this.direct.gain.cancelScheduledValues(this.context.currentTime);
    ramp(this.direct.gain, 1, this.context);
    for (const source of this.feeds) if (source !== undefined) this.graph.connect(source, this.direct);
  }

  private dropWorklet(): void {
    if (this.worklet === null) return;
    const { node, gain } = this.worklet;
    this.worklet = null;
    node.port.onmessage = null;
    node.port.postMessage({ type: 'stop' });
    for (const source of this.feeds) if (source !== undefined) this.cut(source, node);
    this.graph.disconnect(node);
    this.graph.disconnect(gain);
  }

  /** Disconnecting what is not connected throws, and the page may have been here first. */
  private cut(from: AudioNode, to: AudioNode): void {
    try {
      this.graph.disconnect(from, to);
    } catch {
      // Already apart.
    }
  }
}

export function mono(context: BaseAudioContext): GainNode {
  const node = context.createGain();
  node.channelCount = 1;
  node.channelCountMode = 'explicit';
  return node;
}

export function ramp(parameter: AudioParam, value: number, context: BaseAudioContext): void {
  parameter.setValueAtTime(parameter.value, context.currentTime);
  parameter.linearRampToValueAtTime(value, context.currentTime + CROSSFADE_S);
}
