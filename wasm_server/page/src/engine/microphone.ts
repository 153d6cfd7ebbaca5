/**
 * The page's microphone: what the gateway sends, in every place where the page listens to it.
 *
 * A place plays encoded frames of G.711 through the media module's jitter buffer where it can, and Chrome's own track
 * else. While wide band codecs are spoken, which only Chrome decodes, it plays both: each frame goes into one of them.
 */

import type { Log } from '../events.ts';
import { logFault } from '../events.ts';
import type { NativeGraph } from '../hooks/audio-graph.ts';
import type { HandedTrack } from '../hooks/tracks.ts';
import type { Feed } from '../worklet/frames.ts';
import type { LineReading, ToneOrder } from '../worklet/messages.ts';
import { Meter } from './meters.ts';
import { Stage, mono, ramp, type StagePath } from './stage.ts';
import type { Worklets } from './worklets.ts';

/** createMediaStreamSource as the browser has it. */
export type NativeSource = (context: AudioContext, stream: MediaStream) => AudioNode;

export interface MicrophoneParts {
  readonly AudioContext: typeof AudioContext;
  readonly MediaStream: typeof MediaStream;
  readonly source: NativeSource;
  readonly graph: NativeGraph;
  readonly worklets: Worklets;
  readonly log: Log;
}

/** Where encoded frames come from; null while there are none to be had. */
export type MakeFeed = () => Feed | null;

/** The microphone in one context: stage → gate → the node the page has. */
class Outlet {
  readonly stage: Stage;
  private readonly floor: ConstantSourceNode;
  /** Taken at once: the node itself soon poses as a source node, which has no gain. */
  private readonly level: AudioParam;
  private source: AudioNode | null = null;
  private remote: MediaStream | null = null;
  private feed: Feed | null = null;
  private wide = false;
  line: LineReading | null = null;

  constructor(
    readonly context: AudioContext,
    gate: GainNode,
    private readonly parts: MicrophoneParts,
    meter: Meter,
    private readonly onFailed: () => void,
  ) {
    const { graph, worklets, log } = parts;
    this.stage = new Stage(
      context,
      graph,
      worklets,
      {
        meter: (reading) => {
          meter.add(reading);
        },
        line: (reading) => {
          this.line = reading;
        },
        failed: () => {
          this.choose();
          this.onFailed();
        },
      },
      log,
    );
    this.level = gate.gain;
    this.level.value = 0;
    graph.connect(this.stage.output, gate);
    // A real microphone delivers frames at all times. Without a source a page's worklet would get no channel at all.
    this.floor = context.createConstantSource();
    this.floor.offset.value = 0;
    graph.connect(this.floor, gate);
    this.floor.start();
  }

  /** Whether it plays, or will as soon as its worklet is there, encoded frames. */
  get encoded(): boolean {
    return this.feed !== null && !this.stage.failed;
  }

  listen(remote: MediaStream | null): void {
    this.remote = remote;
    this.choose();
  }

  /** Whether frames come, or may come, that the media module cannot decode. */
  setWide(wide: boolean): void {
    if (wide === this.wide) return;
    this.wide = wide;
    this.choose();
  }

  take(feed: Feed | null): void {
    this.feed = feed;
    this.line = null;
    this.stage.listen(feed);
    this.choose();
  }

  private choose(): void {
    if (this.source !== null) this.stage.unfeed(this.source);
    const { remote } = this;
    this.source = remote !== null && (this.wide || !this.encoded) ? this.parts.source(this.context, remote) : null;
    if (this.source !== null) this.stage.feed(this.source);
  }

  open(audible: boolean): void {
    ramp(this.level, audible ? 1 : 0, this.context);
  }

  close(): void {
    this.listen(null);
    this.stage.close();
    this.floor.stop();
  }
}

export class Microphone {
  readonly meter = new Meter();
  private remote: MediaStream | null = null;
  private started = false;
  private wide = false;
  private live = 0;
  private warm = false;
  private testing = false;
  private plain: { context: AudioContext; track: MediaStreamTrack; outlet: Outlet } | null = null;
  private outlets = new Map<Outlet, HandedTrack>();
  /** Told whether anybody listens to the plain track, and whether somebody listens to nothing else. */
  onTrackNeeded: (needed: boolean, alone: boolean) => void = () => undefined;

  /**
   * @param sleeps the page is known to listen in Web Audio only: the plain track's own context sleeps while it does.
   */
  constructor(
    private readonly parts: MicrophoneParts,
    private readonly sleeps: boolean,
    private readonly makeFeed: MakeFeed,
  ) {}

  get path(): StagePath {
    return this.active()?.stage.path ?? 'plain';
  }

  /** Whether the page hears encoded frames from before Chrome's jitter buffer. */
  get encoded(): boolean {
    return !this.wide && (this.active()?.encoded ?? false);
  }

  /** The jitter buffer's figures where the page listens now. */
  get line(): LineReading | null {
    return this.encoded ? (this.active()?.line ?? null) : null;
  }

  /** The track behind every track the page is given. Lives as long as the document. */
  plainTrack(): MediaStreamTrack {
    if (this.plain === null) {
      const { graph } = this.parts;
      const context = new this.parts.AudioContext({ latencyHint: 'interactive' });
      const gate = mono(context);
      const destination = context.createMediaStreamDestination();
      destination.channelCount = 1;
      graph.connect(gate, destination);
      const [track] = destination.stream.getAudioTracks();
      if (track === undefined) throw new Error('a stream destination without a track');
      const outlet = this.outlet(context, gate);
      outlet.open(this.started);
      this.plain = { context, track, outlet };
      this.trackNeeded();
      this.rest();
    }
    return this.plain.track;
  }

  /** How many tracks the page holds: the plain context runs only for somebody. */
  setLive(count: number): void {
    this.live = count;
    this.rest();
  }

  /**
   * Run a context while a call rings: the first one of a page takes 80 ms to start and its worklet 40, in which a caller
   * who was just answered would not be heard. The page's own contexts then take a tenth of that.
   */
  setWarm(warm: boolean): void {
    this.warm = warm;
    if (warm) this.plainTrack();
    this.rest();
  }

  /** Run our own context for a test of the way that sound takes; its gate stays shut. */
  beginTest(): AudioContext {
    this.plainTrack();
    this.testing = true;
    this.meter.reset();
    this.rest();
    if (this.plain === null) throw new Error('the plain track is gone');
    return this.plain.context;
  }

  endTest(): void {
    this.testing = false;
    this.rest();
  }

  /** What was metered so far does not count. */
  forgetTestReading(): void {
    this.meter.reset();
  }

  /** What the test's context hears. Nothing of a call is metered meanwhile: a test ends where a call's media begins. */
  testReading(): { readonly ready: boolean; readonly packets: number | null; readonly peakDbfs: number | null } {
    const outlet = this.plain?.outlet ?? null;
    return {
      ready: outlet?.stage.path === 'wasm',
      packets: outlet?.line?.packets ?? null,
      peakDbfs: this.meter.stats().peak_dbfs,
    };
  }

  /** The node that stands for the microphone in a context of the page's. */
  makeSource(context: BaseAudioContext, track: HandedTrack): AudioNode | null {
    if (context.state === 'closed' || !('createMediaStreamSource' in context)) return null;
    const gate = mono(context);
    const outlet = this.outlet(context as AudioContext, gate);
    this.outlets.set(outlet, track);
    this.warm = false;
    const listening = new AbortController();
    const close = (): void => {
      if (!this.outlets.delete(outlet)) return;
      listening.abort();
      outlet.close();
      this.trackNeeded();
      this.rest();
    };
    track.onChange(() => {
      if (track.stopped) close();
      else outlet.open(this.started && track.audible);
    });
    context.addEventListener(
      'statechange',
      () => {
        if (context.state === 'closed') close();
      },
      { signal: listening.signal },
    );
    outlet.open(this.started && track.audible);
    // One that the page made without a gesture, and takes to be running.
    if (this.started) this.resume(outlet.context);
    this.trackNeeded();
    this.rest();
    return gate;
  }

  setRemote(track: MediaStreamTrack | null): void {
    this.remote = track === null ? null : new this.parts.MediaStream([track]);
    for (const outlet of this.everyOutlet()) outlet.listen(this.remote);
  }

  /** Be ready for wide band codecs, or no more. */
  setWide(wide: boolean): void {
    if (wide === this.wide) return;
    this.wide = wide;
    for (const outlet of this.everyOutlet()) outlet.setWide(wide);
    this.trackNeeded();
  }

  /** Encoded frames can be had from now on, or no more. */
  feedChanged(): void {
    for (const outlet of this.everyOutlet()) outlet.take(this.makeFeed());
    this.trackNeeded();
  }

  start(): void {
    this.started = true;
    this.meter.reset();
    this.gates();
    for (const outlet of this.outlets.keys()) this.resume(outlet.context);
    this.rest();
  }

  stop(): void {
    this.started = false;
    this.gates();
  }

  tone(order: ToneOrder): boolean {
    const outlet = this.active();
    return this.started && outlet !== null && outlet.stage.tone(order);
  }

  /** Where the page listens now: the newest of its own contexts, else the plain track. */
  private active(): Outlet | null {
    return [...this.outlets.keys()].at(-1) ?? this.plain?.outlet ?? null;
  }

  private outlet(context: AudioContext, gate: GainNode): Outlet {
    const outlet = new Outlet(context, gate, this.parts, this.meter, () => {
      this.trackNeeded();
    });
    outlet.setWide(this.wide);
    outlet.take(this.makeFeed());
    outlet.listen(this.remote);
    return outlet;
  }

  private trackNeeded(): void {
    const alone = this.everyOutlet().some((outlet) => !outlet.encoded);
    if (alone && this.wide) {
      // G.711 goes to the track for that one's sake: who listens to both would hear it twice.
      for (const outlet of this.everyOutlet()) if (outlet.encoded) outlet.take(null);
    }
    this.onTrackNeeded(alone || this.wide, alone);
  }

  private everyOutlet(): Outlet[] {
    return [...this.outlets.keys(), ...(this.plain === null ? [] : [this.plain.outlet])];
  }

  private gates(): void {
    for (const [outlet, track] of this.outlets) outlet.open(this.started && track.audible);
    this.plain?.outlet.open(this.started);
  }

  private rest(): void {
    if (this.plain === null) return;
    const wanted = this.testing || this.warm || (this.live > 0 && !(this.sleeps && this.outlets.size > 0));
    if (wanted) this.resume(this.plain.context);
    else if (this.plain.context.state === 'running') void this.plain.context.suspend();
  }

  private resume(context: AudioContext): void {
    if (context.state === 'running' || context.state === 'closed') return;
    context.resume().catch((fault: unknown) => {
      logFault(this.parts.log, 'an audio context could not be resumed', fault);
    });
  }
}
