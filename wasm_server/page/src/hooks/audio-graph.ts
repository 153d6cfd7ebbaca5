/** What the page connected to what: enough of its audio graph to tell a call's playback from a ring tone. */

import type { Log } from '../events.ts';
import { observeMethod, patchConstructor } from './patch.ts';

interface Edge {
  readonly to: WeakRef<AudioNode>;
  readonly output: number;
  readonly input: number;
}

/** A node that may bring sound into its context, and reaches a way out of it. */
export interface Source {
  readonly node: AudioNode;
  /** Script processors do what worklets do, in older code; streams bring in what a peer connection received. */
  readonly kind: 'worklet' | 'script' | 'stream';
  /** Name under which the page registered its processor; empty for a node made before we were here. */
  readonly processor: string;
  /** It reaches the context's own destination, not only a stream. */
  readonly destination: boolean;
  /** What it is fed by: nothing, our microphone among others, sounds of the page (it filters those), or others. */
  readonly fed: 'none' | 'microphone' | 'sound' | 'other';
}

/** Beyond this many nodes in one context only what is played is looked at: each pair of them is tried. */
const MAX_ADOPTED = 100;

interface GraphWindow {
  readonly AudioNode: { readonly prototype: object };
  readonly AudioParam: abstract new (...args: never[]) => object;
  readonly AudioWorkletNode: abstract new (...args: never[]) => object;
}

type Connect = (this: AudioNode, to: AudioNode, output?: number, input?: number) => AudioNode;
type Disconnect = (this: AudioNode, ...args: unknown[]) => undefined;

/** connect and disconnect as the browser has them, for nodes of our own that must not enter the page's graph. */
export interface NativeGraph {
  connect(from: AudioNode, to: AudioNode, output?: number, input?: number): void;
  disconnect(from: AudioNode, to?: AudioNode, output?: number, input?: number): void;
}

export class AudioGraph {
  private readonly edges = new WeakMap<AudioNode, Edge[]>();
  private readonly fedBy = new WeakMap<AudioNode, WeakRef<AudioNode>[]>();
  private readonly processors = new WeakMap<AudioNode, string>();
  private readonly microphones = new WeakSet<AudioNode>();
  private makers: WeakRef<AudioNode>[] = [];
  private played: WeakRef<BaseAudioContext>[] = [];
  private native: NativeGraph | null = null;

  /**
   * @param onChange told after each change the page made; `cut` is a node all of whose outputs the page disconnected,
   *   ours among them.
   */
  constructor(private readonly onChange: (cut: AudioNode | null) => void) {}

  install(window: GraphWindow, log: Log): NativeGraph {
    const isParam = (value: unknown): boolean => value instanceof window.AudioParam;

    patchConstructor(window, 'AudioWorkletNode', log, (args, native) => {
      const node = native() as AudioNode;
      this.processors.set(node, String(args[1]));
      return node;
    });

    const connect = observeMethod(window.AudioNode.prototype, 'connect', log, (self, args) => {
      if (isParam(args[0])) return;
      this.connected(self as AudioNode, args[0] as AudioNode, Number(args[1] ?? 0), Number(args[2] ?? 0));
    });
    const disconnect = observeMethod(window.AudioNode.prototype, 'disconnect', log, (self, args) => {
      if (isParam(args[0])) return;
      this.disconnected(self as AudioNode, args);
    });
    if (connect === null || disconnect === null) throw new TypeError('AudioNode cannot be observed');
    const nativeConnect = connect as unknown as Connect;
    const nativeDisconnect = disconnect as unknown as Disconnect;
    this.native ??= {
      connect: (from, to, output = 0, input = 0) => {
        nativeConnect.call(from, to, output, input);
      },
      disconnect: (from, to, output, input) => {
        if (to === undefined) nativeDisconnect.call(from);
        else if (output === undefined) nativeDisconnect.call(from, to);
        else nativeDisconnect.call(from, to, output, input);
      },
    };
    return this.native;
  }

  /** What leads to the destination of each context that is not closed; an empty list where nothing does any more. */
  players(): Map<BaseAudioContext, AudioNode[]> {
    const found = new Map<BaseAudioContext, AudioNode[]>();
    this.played = this.played.filter((reference) => {
      const context = reference.deref();
      if (context === undefined || context.state === 'closed') return false;
      const feeders = (this.fedBy.get(context.destination) ?? []).map((feeder) => feeder.deref());
      found.set(context, [...new Set(feeders.filter((feeder) => feeder !== undefined))]);
      return true;
    });
    return found;
  }

  /**
   * Learn what nodes that were made before us are connected to. Nothing tells it but the fault of a disconnect that has
   * nothing to undo; one that succeeds is undone at once, before the context renders on.
   *
   * @returns how many connections were found.
   */
  adopt(nodes: readonly AudioNode[]): number {
    const contexts = new Map<BaseAudioContext, AudioNode[]>();
    for (const node of nodes) {
      const { context } = node;
      if (context.state === 'closed' || 'startRendering' in context) continue;
      contexts.set(context, [...(contexts.get(context) ?? []), node]);
    }
    let edges = 0;
    for (const [context, found] of contexts) {
      const others = found.length > MAX_ADOPTED ? [] : found.filter((node) => node !== context.destination);
      for (const from of found) {
        for (const to of [...others, context.destination]) {
          if (from !== to) edges += this.adoptPair(from, to);
        }
      }
    }
    return edges;
  }

  private adoptPair(from: AudioNode, to: AudioNode): number {
    const { native } = this;
    if (native === null) return 0;
    let edges = 0;
    for (let output = 0; output < from.numberOfOutputs; output++) {
      for (let input = 0; input < to.numberOfInputs; input++) {
        try {
          native.disconnect(from, to, output, input);
        } catch {
          continue;
        }
        native.connect(from, to, output, input);
        this.connected(from, to, output, input);
        edges += 1;
      }
    }
    return edges;
  }

  /** Remember a node that stands for the microphone: what it feeds is not the far end. */
  isMicrophone(node: AudioNode): void {
    this.microphones.add(node);
  }

  /** Nodes that can make sound and reach a way out of their context, oldest first. */
  sources(): Source[] {
    const found: Source[] = [];
    this.makers = this.makers.filter((reference) => {
      const node = reference.deref();
      if (node === undefined || node.context.state === 'closed') return false;
      const kind = kindOf(node);
      // What is rendered into a buffer is not heard.
      if (kind === null || this.microphones.has(node) || 'startRendering' in node.context) return true;
      const fed = this.fed(node);
      // Who only listens to the microphone is often played with no gain, so that it runs; it may pass on what it hears.
      const ends = fed === 'microphone' ? isShut : () => false;
      const destination = this.reaches(node, (other) => other === node.context.destination, ends);
      if (destination || this.reaches(node, isStreamDestination, ends)) {
        found.push({ node, kind, processor: this.processors.get(node) ?? '', destination, fed });
      }
      return true;
    });
    return found;
  }

  private fed(node: AudioNode): Source['fed'] {
    const seen = new Set<AudioNode>([node]);
    const open = [...seen];
    let sound = false;
    for (let one = open.pop(); one !== undefined; one = open.pop()) {
      for (const reference of this.fedBy.get(one) ?? []) {
        const feeder = reference.deref();
        if (feeder === undefined || seen.has(feeder)) continue;
        if (this.microphones.has(feeder)) return 'microphone';
        sound ||= isSound(feeder);
        seen.add(feeder);
        open.push(feeder);
      }
    }
    if (sound) return 'sound';
    return seen.size > 1 ? 'other' : 'none';
  }

  private reaches(from: AudioNode, isGoal: (node: AudioNode) => boolean, ends: (node: AudioNode) => boolean): boolean {
    const seen = new Set<AudioNode>();
    const open: AudioNode[] = [from];
    for (let node = open.pop(); node !== undefined; node = open.pop()) {
      if (isGoal(node)) return true;
      if (seen.has(node)) continue;
      seen.add(node);
      if (ends(node)) continue;
      for (const edge of this.edges.get(node) ?? []) {
        const to = edge.to.deref();
        if (to !== undefined) open.push(to);
      }
    }
    return false;
  }

  private connected(from: AudioNode, to: AudioNode, output: number, input: number): void {
    const edges = this.edges.get(from) ?? [];
    if (!edges.some((edge) => edge.to.deref() === to && edge.output === output && edge.input === input)) {
      edges.push({ to: new WeakRef(to), output, input });
      this.edges.set(from, edges);
      // A destination sees a source per message sound: those that are gone must not pile up.
      const feeders = (this.fedBy.get(to) ?? []).filter((reference) => reference.deref() !== undefined);
      feeders.push(new WeakRef(from));
      this.fedBy.set(to, feeders);
    }
    const { context } = to;
    if (to === context.destination && !this.played.some((reference) => reference.deref() === context)) {
      this.played.push(new WeakRef(context));
    }
    // A subclass may have been made through a constructor that is not ours; its kind shows on the prototype chain.
    if (kindOf(from) !== null && !this.makers.some((reference) => reference.deref() === from)) {
      this.makers.push(new WeakRef(from));
    }
    this.onChange(null);
  }

  private disconnected(from: AudioNode, args: readonly unknown[]): void {
    const [first, second, third] = args;
    const everything = args.length === 0;
    const wholeOutput = typeof first === 'number';
    const goes = (edge: Edge): boolean => {
      if (everything) return true;
      if (wholeOutput) return edge.output === first;
      if (edge.to.deref() !== first) return false;
      return (second === undefined || edge.output === second) && (third === undefined || edge.input === third);
    };
    const edges = this.edges.get(from) ?? [];
    this.edges.set(
      from,
      edges.filter((edge) => !goes(edge)),
    );
    for (const edge of edges.filter(goes)) {
      const to = edge.to.deref();
      if (to === undefined) continue;
      const feeders = this.fedBy.get(to) ?? [];
      const at = feeders.findIndex((reference) => reference.deref() === from);
      if (at >= 0) feeders.splice(at, 1);
    }
    this.onChange(everything || wholeOutput ? from : null);
  }
}

/** Where a page sends what a media element is to play, to choose the device or to have it cancelled as echo. */
function isStreamDestination(node: AudioNode): boolean {
  return 'stream' in node;
}

/** Oscillators, buffers and media elements: how pages make ring tones and message sounds. */
function isSound(node: AudioNode): boolean {
  return 'setPeriodicWave' in node || ('buffer' in node && 'start' in node) || 'mediaElement' in node;
}

function isShut(node: AudioNode): boolean {
  return 'gain' in node && (node as GainNode).gain.value === 0;
}

function kindOf(node: AudioNode): Source['kind'] | null {
  if ('port' in node && 'parameters' in node) return 'worklet';
  if ('onaudioprocess' in node) return 'script';
  return 'mediaStream' in node ? 'stream' : null;
}
