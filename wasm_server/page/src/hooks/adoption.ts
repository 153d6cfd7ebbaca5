/** What a page had made before the bundle came, handed over by the gateway: it may be in the middle of a call. */

import type { Log } from '../events.ts';
import { logFault } from '../events.ts';
import { PonteError } from '../errors.ts';
import type { AudioGraph } from './audio-graph.ts';
import type { MediaElements } from './media-elements.ts';
import type { MicrophoneTracks } from './tracks.ts';

export interface AdoptionParts {
  readonly graph: AudioGraph;
  readonly elements: MediaElements;
  readonly tracks: MicrophoneTracks;
  readonly log: Log;
}

/** Give those connections our microphone that send another one. */
function adoptPeer(peer: RTCPeerConnection, { tracks, log }: AdoptionParts): number {
  if (peer.connectionState === 'closed') return 0;
  let taken = 0;
  for (const sender of peer.getSenders()) {
    if (sender.track?.kind !== 'audio' || tracks.find(sender.track) !== undefined) continue;
    taken += 1;
    sender.replaceTrack(tracks.fresh()).catch((fault: unknown) => {
      logFault(log, 'a microphone that was in use could not be replaced', fault);
    });
  }
  return taken;
}

/** What a search by prototype finds has the prototypes of derived interfaces among it, which none of this works on. */
function instances<T>(found: unknown, attribute: keyof T): T[] {
  return (Array.isArray(found) ? (found as T[]) : []).filter((one) => {
    try {
      return one[attribute] !== undefined;
    } catch {
      return false;
    }
  });
}

/**
 * Take up instances of one interface.
 *
 * @returns how many were.
 */
export function adopt(name: unknown, found: unknown, parts: AdoptionParts): number {
  if (name === 'AudioNode') return parts.graph.adopt(instances<AudioNode>(found, 'context'));
  if (name === 'HTMLMediaElement') return parts.elements.adopt(instances<HTMLMediaElement>(found, 'paused'));
  if (name === 'RTCPeerConnection') {
    const peers = instances<RTCPeerConnection>(found, 'connectionState');
    return peers.reduce((sum, peer) => sum + adoptPeer(peer, parts), 0);
  }
  throw new PonteError('bad_argument', 'this kind of object is not taken up');
}
