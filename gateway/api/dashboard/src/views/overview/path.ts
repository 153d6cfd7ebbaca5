/** The way of a call through the parts, of what the gateway says of them. */
import type { PartView, PartsView } from '../../api.gen.ts';
import type { PlainKey } from '../../i18n/index.tsx';
import type { Mood } from '../../ui/index.tsx';

export type Spot = 'chrome' | 'page' | 'media' | 'sip';

export interface Node {
  spot: Spot;
  mood: Mood;
  /** Its state in a word or two. */
  word: PlainKey;
  /** The gateway's own sentence. */
  detail: string;
  /** What mends it; null where nothing is to be done. */
  mend: PlainKey | null;
  /** View that helps with it. */
  help: string | null;
}

/** The four nodes, in order. A node behind one that is not there is `off`: nobody can tell how it is. */
export function way(enabled: boolean, parts: PartsView): Node[] {
  if (!enabled) {
    const spots: Spot[] = ['chrome', 'page', 'media', 'sip'];
    return spots.map((spot) => node(spot, 'off', 'word.disabled', ''));
  }
  return [...page(parts.page), media(parts.page, parts.media), sip(parts)];
}

/** The first node that is broken; it and the link into it are marked. */
export function broken(nodes: readonly Node[]): Node | null {
  return nodes.find((one) => one.mood === 'bad') ?? null;
}

/** How the link into each node is; the first node has none, so that the one out of it is cut when it is broken. */
export function links(nodes: readonly Node[]): ('whole' | 'cut' | 'idle')[] {
  const at = broken(nodes);
  const cut = at ? Math.max(nodes.indexOf(at), 1) : -1;
  return nodes.map((one, index) => {
    if (index === cut) return 'cut';
    return one.mood === 'good' && nodes[index - 1]?.mood === 'good' ? 'whole' : 'idle';
  });
}

function node(spot: Spot, mood: Mood, word: PlainKey, detail: string, mend?: PlainKey, help?: string): Node {
  return { spot, mood, word, detail, mend: mend ?? null, help: help ?? null };
}

function page({ state, detail }: PartView): [Node, Node] {
  const chrome = node('chrome', 'good', 'word.connected', '');
  switch (state) {
    case 'READY':
      return [chrome, node('page', 'good', 'word.ready', detail)];
    case 'DEGRADED':
      return [chrome, node('page', 'bad', 'word.degraded', detail, 'mend.degraded', '/pairing')];
    case 'LOGIN_REQUIRED':
      return [chrome, node('page', 'bad', 'word.login', detail, 'mend.login', '/pairing')];
    case 'LOADING':
    case 'INJECTING':
      return [chrome, node('page', 'waiting', 'word.loading', detail)];
    case 'ATTACHING':
      return [node('chrome', 'waiting', 'word.connecting', detail), node('page', 'off', 'word.unknown', '')];
    case 'LOST':
      return [
        node('chrome', 'bad', 'word.lost', detail, 'mend.lost', '/configuration'),
        node('page', 'off', 'word.unknown', ''),
      ];
    default:
      return [
        node('chrome', 'bad', 'word.unreachable', detail, 'mend.chrome', '/configuration'),
        node('page', 'off', 'word.unknown', ''),
      ];
  }
}

function media(page: PartView, { state, detail }: PartView): Node {
  const ready = page.state === 'READY' || page.state === 'DEGRADED';
  if (!ready) return node('media', 'off', 'word.unknown', '');
  if (state === 'connected') return node('media', 'good', 'word.connected', detail);
  if (state === 'failed') return node('media', 'bad', 'word.failed', detail, 'mend.media', '/configuration');
  return node('media', 'waiting', 'word.connecting', detail);
}

function sip({ registration, listener, phones }: PartsView): Node {
  const here = '/configuration';
  if (registration.state === 'refused') {
    return node('sip', 'bad', 'word.refused', registration.detail, 'mend.sip.refused', here);
  }
  if (registration.state === 'failed') {
    return node('sip', 'bad', 'word.failed', registration.detail, 'mend.sip.failed', here);
  }
  if (listener.state === 'refused') {
    return node('sip', 'bad', 'word.not_listening', listener.detail, 'mend.sip.listener', here);
  }
  if (registration.state === 'trying') return node('sip', 'waiting', 'word.registering', registration.detail);
  if (registration.state === 'registered') return node('sip', 'good', 'word.registered', registration.detail);
  if (phones.state === 'registered') return node('sip', 'good', 'word.phones', phones.detail);
  if (listener.state === 'listening') return node('sip', 'good', 'word.listening', listener.detail);
  return node('sip', 'bad', 'word.off', listener.detail, 'mend.sip.off', here);
}
