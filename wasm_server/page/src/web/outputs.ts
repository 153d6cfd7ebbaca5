/**
 * Everything a page lets be heard, for pages of which nothing else is known: what leads to the destination of an audio
 * context, and what media elements play. It is brought together in one context of ours, at the price of its delay.
 */

import type { AudioGraph, NativeGraph } from '../hooks/audio-graph.ts';
import type { MediaElements } from '../hooks/media-elements.ts';

export interface OutputsParts {
  readonly graph: Pick<AudioGraph, 'players'>;
  readonly elements: Pick<MediaElements, 'playing'>;
  readonly native: Pick<NativeGraph, 'connect' | 'disconnect'>;
  readonly AudioContext: new (options?: AudioContextOptions) => AudioContext;
  /** createMediaStreamSource as the browser has it. */
  readonly source: (context: AudioContext, stream: MediaStream) => AudioNode;
}

interface Branch {
  readonly destination: MediaStreamAudioDestinationNode;
  readonly feeders: Set<AudioNode>;
}

type Capturing = HTMLMediaElement & { captureStream?(): MediaStream };

export class Outputs {
  private context: AudioContext | null = null;
  private readonly branches = new Map<BaseAudioContext, Branch>();
  private readonly captured = new WeakMap<HTMLMediaElement, MediaStream>();
  private readonly sources = new WeakMap<MediaStream, AudioNode>();

  constructor(private readonly parts: OutputsParts) {}

  /** One node of our context for each stream that can be heard now. */
  nodes(): AudioNode[] {
    const streams = [...this.ofContexts(), ...this.ofElements()];
    return streams.filter((stream) => stream.getAudioTracks().length > 0).map((stream) => this.node(stream));
  }

  /** The page disconnected all outputs of a node, ours among them. */
  cut(node: AudioNode): void {
    this.branches.get(node.context)?.feeders.delete(node);
  }

  private ofContexts(): MediaStream[] {
    const found: MediaStream[] = [];
    const players = this.parts.graph.players();
    for (const context of this.branches.keys()) if (context.state === 'closed') this.branches.delete(context);
    for (const [context, nodes] of players) {
      const branch = this.branch(context as AudioContext);
      for (const node of branch.feeders) {
        if (nodes.includes(node)) continue;
        branch.feeders.delete(node);
        try {
          this.parts.native.disconnect(node, branch.destination);
        } catch {
          // The page was here first.
        }
      }
      for (const node of nodes) {
        if (branch.feeders.has(node)) continue;
        branch.feeders.add(node);
        this.parts.native.connect(node, branch.destination);
      }
      if (nodes.length > 0) found.push(branch.destination.stream);
    }
    return found;
  }

  private ofElements(): MediaStream[] {
    const found: MediaStream[] = [];
    for (const element of this.parts.elements.playing()) {
      const { srcObject } = element;
      const stream = srcObject !== null && 'getAudioTracks' in srcObject ? srcObject : this.capture(element);
      if (stream !== null && !found.includes(stream)) found.push(stream);
    }
    return found;
  }

  private capture(element: Capturing): MediaStream | null {
    const known = this.captured.get(element);
    if (known !== undefined) return known;
    const stream = element.captureStream?.() ?? null;
    if (stream !== null) this.captured.set(element, stream);
    return stream;
  }

  private branch(context: AudioContext): Branch {
    let branch = this.branches.get(context);
    if (branch === undefined) {
      branch = { destination: context.createMediaStreamDestination(), feeders: new Set() };
      this.branches.set(context, branch);
    }
    return branch;
  }

  private node(stream: MediaStream): AudioNode {
    this.context ??= new this.parts.AudioContext({ latencyHint: 'interactive' });
    let node = this.sources.get(stream);
    if (node === undefined) {
      node = this.parts.source(this.context, stream);
      this.sources.set(stream, node);
    }
    return node;
  }
}
