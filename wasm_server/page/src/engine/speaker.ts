/**
 * What the far end says, taken where the page plays it.
 *
 * Only during a call, and only the call's playback nodes: worklet nodes that nothing feeds and that are played. Ring
 * tones and message sounds come from files, buffers and oscillators and are never taken. The page's own way to the destination stays as it is.
 */

import type { Log } from '../events.ts';
import { logFault } from '../events.ts';
import type { NativeGraph, Source } from '../hooks/audio-graph.ts';
import type { ToneOrder } from '../worklet/messages.ts';
import { Meter } from './meters.ts';
import { Stage, type StagePath } from './stage.ts';
import type { Worklets } from './worklets.ts';

export interface SpeakerParts {
  /** What the far end is heard from now; `patient`: the page has had the time to begin its usual way. */
  readonly sources: (patient: boolean) => AudioNode[];
  readonly native: NativeGraph;
  readonly worklets: Worklets;
  /** The track to send from now on. */
  readonly onTrack: (track: MediaStreamTrack | null) => void;
  readonly log: Log;
}

interface Tap {
  readonly stage: Stage;
  readonly destination: MediaStreamAudioDestinationNode;
  readonly nodes: Set<AudioNode>;
  readonly listening: AbortController;
}

type Kind = Pick<Source, 'kind' | 'processor' | 'destination' | 'fed'>;

/** What the call's playback looks like, the likeliest first. WhatsApp's own is the first. */
const PLAYBACK: readonly ((source: Kind) => boolean)[] = [
  // Wherever they lead: the sound is played through the destination or through a media element.
  ({ kind, fed, processor }) => kind === 'worklet' && fed === 'none' && /playback/i.test(processor),
  ({ kind, fed, destination }) => kind === 'worklet' && fed === 'none' && destination,
  ({ kind, fed }) => kind === 'worklet' && fed === 'none',
];

/** What else it may be in a page with other habits, if the above is not there a while after the call began. */
const UNUSUAL: readonly ((source: Kind) => boolean)[] = [
  ({ kind, fed }) => kind === 'worklet' && fed === 'other',
  ({ kind, fed }) => kind === 'script' && (fed === 'none' || fed === 'other'),
  ({ kind, destination }) => kind === 'stream' && destination,
  // One node for both directions.
  ({ kind, fed }) => kind !== 'stream' && fed === 'microphone',
];

/**
 * Which of the page's sources is the call.
 *
 * @param patient the page has had the time to begin the usual way.
 */
export function playbackOf<T extends Kind>(sources: readonly T[], patient = false): T[] {
  for (const isPlayback of patient ? [...PLAYBACK, ...UNUSUAL] : PLAYBACK) {
    const found = sources.filter((source) => isPlayback(source));
    if (found.length > 0) return found;
  }
  return [];
}

/** WhatsApp's playback is there some 100 ms after a call was accepted. */
const PATIENCE_MS = 1500;
/** Between looks while nothing of the call was found: not every way of playing tells of itself. */
const LOOK_MS = 500;

export class Speaker {
  readonly meter = new Meter();
  private readonly taps = new Map<AudioContext, Tap>();
  private current: Tap | null = null;
  private started = false;
  private pending = false;
  private startedAt = 0;
  private looking: ReturnType<typeof setInterval> | undefined;

  constructor(private readonly parts: SpeakerParts) {}

  get path(): StagePath {
    return this.current?.stage.path ?? 'plain';
  }

  /** Whether anything that the page plays is taken. */
  get taken(): boolean {
    return this.current !== null;
  }

  start(): void {
    if (!this.started) {
      this.startedAt = performance.now();
      this.looking = setInterval(() => {
        if (this.current === null) this.graphChanged(null);
      }, LOOK_MS);
    }
    this.started = true;
    this.meter.reset();
    this.refresh();
    for (const context of this.taps.keys()) this.resume(context);
  }

  stop(): void {
    this.started = false;
    clearInterval(this.looking);
    for (const context of [...this.taps.keys()]) this.drop(context);
    this.choose(null);
  }

  tone(order: ToneOrder): boolean {
    return this.current?.stage.tone(order) ?? false;
  }

  /** The page changed its graph. Many changes in one turn are looked at once. */
  graphChanged(cut: AudioNode | null): void {
    if (!this.started) return;
    if (cut !== null) {
      for (const tap of this.taps.values()) {
        if (!tap.nodes.delete(cut)) continue;
        tap.stage.forget(cut);
      }
    }
    if (this.pending) return;
    this.pending = true;
    queueMicrotask(() => {
      this.pending = false;
      try {
        this.refresh();
      } catch (fault) {
        logFault(this.parts.log, 'the speaker could not be looked up', fault);
      }
    });
  }

  private refresh(): void {
    if (!this.started) return;
    const nodes = this.parts.sources(performance.now() - this.startedAt > PATIENCE_MS);
    for (const [context, tap] of this.taps) {
      for (const node of tap.nodes) {
        if (nodes.some((one) => one === node)) continue;
        tap.nodes.delete(node);
        tap.stage.unfeed(node);
      }
      if (tap.nodes.size === 0) this.drop(context);
    }
    for (const node of nodes) {
      const tap = this.tap(node.context as AudioContext);
      if (tap.nodes.has(node)) continue;
      tap.nodes.add(node);
      tap.stage.feed(node);
    }
    // Several contexts cannot be mixed without one of ours between them and its delay: the newest call wins.
    const newest = nodes.at(-1);
    this.choose(newest === undefined ? null : (this.taps.get(newest.context as AudioContext) ?? null));
  }

  private tap(context: AudioContext): Tap {
    const known = this.taps.get(context);
    if (known !== undefined) return known;
    const { native, worklets, log } = this.parts;
    const stage = new Stage(
      context,
      native,
      worklets,
      {
        meter: (reading) => {
          if (this.current?.stage === stage) this.meter.add(reading);
        },
      },
      log,
    );
    const destination = context.createMediaStreamDestination();
    destination.channelCount = 1;
    native.connect(stage.output, destination);
    const tap: Tap = { stage, destination, nodes: new Set(), listening: new AbortController() };
    this.taps.set(context, tap);
    context.addEventListener(
      'statechange',
      () => {
        if (context.state === 'closed') this.graphChanged(null);
      },
      { signal: tap.listening.signal },
    );
    this.resume(context);
    return tap;
  }

  private drop(context: AudioContext): void {
    const tap = this.taps.get(context);
    if (tap === undefined) return;
    this.taps.delete(context);
    tap.listening.abort();
    tap.stage.close();
    for (const track of tap.destination.stream.getTracks()) track.stop();
  }

  private choose(tap: Tap | null): void {
    if (this.current === tap) return;
    this.current = tap;
    this.parts.onTrack(tap?.destination.stream.getAudioTracks()[0] ?? null);
  }

  private resume(context: AudioContext): void {
    if (context.state !== 'suspended') return;
    context.resume().catch((fault: unknown) => {
      logFault(this.parts.log, 'an audio context could not be resumed', fault);
    });
  }
}
