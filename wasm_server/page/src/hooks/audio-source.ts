/**
 * The two ways in which a page takes a stream into Web Audio.
 *
 * For our microphone they return a node of the page's own context that the engine feeds: no AudioContext of ours, and
 * none of its delay, lies between the WebRTC track and the page's worklet.
 */

import type { Log } from '../events.ts';
import { NATIVE, patchConstructor, patchMethod } from './patch.ts';
import type { HandedTrack } from './tracks.ts';

interface SourceWindow {
  readonly AudioContext: { readonly prototype: object };
  readonly MediaStreamAudioSourceNode: { readonly prototype: object };
}

/** Makes the node that stands for the microphone in a context, or says with null that it cannot. */
export type MakeSource = (context: BaseAudioContext, stream: MediaStream, track: HandedTrack) => AudioNode | null;

export function installAudioSource(
  window: SourceWindow,
  find: (stream: MediaStream) => HandedTrack | undefined,
  make: MakeSource,
  log: Log,
): void {
  const standIn = (context: BaseAudioContext, stream: MediaStream, prototype: object): AudioNode | null => {
    const handed = find(stream);
    if (handed === undefined) return null;
    const node = make(context, stream, handed);
    if (node === null) return null;
    // instanceof and .mediaStream are what a page may ask of such a node; the rest it has from AudioNode.
    Object.setPrototypeOf(node, prototype);
    Object.defineProperty(node, 'mediaStream', { value: stream });
    return node;
  };

  patchMethod(window.AudioContext.prototype, 'createMediaStreamSource', log, (self, args) => {
    const { prototype } = window.MediaStreamAudioSourceNode;
    const node = standIn(self as BaseAudioContext, args[0] as MediaStream, prototype);
    return node ?? NATIVE;
  });

  patchConstructor(window, 'MediaStreamAudioSourceNode', log, (args, native, newTarget) => {
    const stream = (args[1] as MediaStreamAudioSourceOptions | undefined)?.mediaStream;
    if (stream === undefined) return native();
    const { prototype } = newTarget as { readonly prototype: object };
    return standIn(args[0] as BaseAudioContext, stream, prototype) ?? native();
  });
}
