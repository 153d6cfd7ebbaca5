import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { playbackOf } from '../src/engine/speaker.ts';
import { AudioGraph, type Source } from '../src/hooks/audio-graph.ts';
import { installAudioSource } from '../src/hooks/audio-source.ts';
import type { HandedTrack } from '../src/hooks/tracks.ts';
import { MediaElements } from '../src/hooks/media-elements.ts';
import { installPopouts } from '../src/hooks/popouts.ts';
import { browser, quiet } from './dom.ts';

type Kind = Pick<Source, 'kind' | 'processor' | 'destination' | 'fed'>;

function installed() {
  const window = browser();
  const cuts: unknown[] = [];
  const graph = new AudioGraph((cut) => cuts.push(cut));
  const native = graph.install(window, quiet);
  const context = new window.AudioContext();
  const worklet = (name: string) => new window.AudioWorkletNode(context, name);
  const node = () => new window.AudioNode(context);
  const found = () =>
    graph.sources().map(({ processor, destination, fed }) => {
      return `${processor}${destination ? '' : ' (stream)'}${fed === 'none' ? '' : ` fed by ${fed}`}`;
    });
  return { window, graph, native, context, worklet, node, found, cuts };
}

describe('the audio graph', () => {
  it('finds a worklet that nothing feeds and that reaches the destination', () => {
    const { context, worklet, node, found } = installed();
    const player = worklet('player');
    assert.deepEqual(found(), []);
    const volume = node();
    player.connect(volume);
    assert.deepEqual(found(), []);
    volume.connect(context.destination);
    assert.deepEqual(found(), ['player']);
  });

  it('says what a worklet is fed by, and finds none of another kind', () => {
    const { context, worklet, node, found } = installed();
    const effect = worklet('effect');
    effect.connect(context.destination);
    const tone = node();
    tone.connect(effect);
    tone.connect(context.destination);
    assert.deepEqual(found(), ['effect fed by other']);
    tone.disconnect(effect);
    assert.deepEqual(found(), ['effect']);
  });

  it('tells what hears the microphone, and not what is played with no gain so that it runs', () => {
    const { graph, context, worklet, node, found } = installed();
    const [microphone, capture, volume] = [node(), worklet('capture'), node()];
    graph.isMicrophone(microphone as unknown as AudioNode);
    microphone.connect(capture);
    capture.connect(volume);
    volume.connect(context.destination);
    assert.deepEqual(found(), ['capture fed by microphone']);
    Object.assign(volume, { gain: { value: 0 } });
    assert.deepEqual(found(), []);
  });

  it('finds what leaves through a stream, and says so', () => {
    const { window, context, worklet, found } = installed();
    worklet('playback').connect(new window.MediaStreamAudioDestinationNode(context));
    assert.deepEqual(found(), ['playback (stream)']);
  });

  it('follows every form of disconnect', () => {
    const { context, worklet, found, cuts } = installed();
    const player = worklet('player');
    for (const cut of [[], [0], [context.destination]]) {
      player.connect(context.destination);
      assert.deepEqual(found(), ['player']);
      player.disconnect(...(cut as [unknown]));
      assert.deepEqual(found(), []);
    }
    assert.deepEqual(cuts, [null, player, null, player, null, null]);
  });

  it('believes a disconnect only when the browser did it', () => {
    const { context, worklet, node, found } = installed();
    const player = worklet('player');
    player.connect(context.destination);
    assert.throws(() => {
      player.disconnect(node());
    });
    assert.deepEqual(found(), ['player']);
  });

  it('takes no notice of parameters, closed contexts and our own connections', () => {
    const { window, context, worklet, node, found, native } = installed();
    const player = worklet('player');
    player.connect(new window.AudioParam());
    assert.deepEqual(found(), []);
    player.connect(context.destination);
    native.connect(node() as never, player as never);
    assert.deepEqual(found(), ['player']);
    context.state = 'closed';
    assert.deepEqual(found(), []);
  });

  it('survives a cycle', () => {
    const { worklet, node, found } = installed();
    const [player, first, second] = [worklet('player'), node(), node()];
    player.connect(first);
    first.connect(second);
    second.connect(first);
    assert.deepEqual(found(), []);
  });
});

describe('which sources are the call', () => {
  const source = (processor: string, more: Partial<Kind> = {}): Kind => ({
    kind: 'worklet', processor, destination: true, fed: 'none', ...more,
  });
  const named = source('voip-shared-buffer-playback-processor', { destination: false });
  const other = source('player');
  const streamed = source('player', { destination: false });
  it('prefers the ones named for playback, through whichever way out, then those at the destination', () => {
    assert.deepEqual(playbackOf([other, streamed, named]), [named]);
    assert.deepEqual(playbackOf([streamed, other]), [other]);
    assert.deepEqual(playbackOf([streamed]), [streamed]);
  });
  it('takes what is unusual only after a while, and what hears the microphone last', () => {
    const kept = source('player', { fed: 'other' });
    const script = source('', { kind: 'script' });
    const stream = source('', { kind: 'stream' });
    const duplex = source('', { fed: 'microphone' });
    const all = [duplex, stream, script, kept];
    assert.deepEqual(playbackOf(all), []);
    for (const expected of [kept, script, stream, duplex]) {
      assert.deepEqual(playbackOf(all, true), [expected]);
      all.splice(all.indexOf(expected), 1);
    }
    assert.deepEqual(playbackOf([duplex, kept, other], true), [other]);
  });
});

describe('the microphone as a source node', () => {
  function hooked(make: (context: BaseAudioContext) => AudioNode | null) {
    const window = browser();
    const ours = new window.MediaStream([new window.MediaStreamTrack()]);
    const handed = {} as HandedTrack;
    installAudioSource(
      window,
      (stream) => (stream === (ours as unknown as MediaStream) ? handed : undefined),
      make,
      quiet,
    );
    return { window, ours, context: new window.AudioContext() };
  }

  it('is a node of ours that passes for a source node, both ways of making it', () => {
    const { window, ours, context } = hooked((at) => new window.AudioNode(at as never) as never);
    const made = context.createMediaStreamSource(ours);
    const constructed = new window.MediaStreamAudioSourceNode(context, { mediaStream: ours });
    for (const node of [made, constructed]) {
      assert.ok(node instanceof window.MediaStreamAudioSourceNode);
      assert.equal(node.mediaStream, ours);
      assert.equal(node.context, context);
    }
  });

  it('keeps what a subclass adds', () => {
    const { window, ours, context } = hooked((at) => new window.AudioNode(at as never) as never);
    class Special extends window.MediaStreamAudioSourceNode {
      readonly special = true;
      own(): boolean {
        return this.special;
      }
    }
    const made = new Special(context, { mediaStream: ours });
    assert.ok(made instanceof Special && made.own());
    assert.equal(made.mediaStream, ours);
  });

  it('is left to the browser for other streams, and when we cannot or fail', () => {
    let answer: () => AudioNode | null = () => null;
    const { window, ours, context } = hooked(() => answer());
    const other = new window.MediaStream([]);
    for (answer of [
      () => null,
      () => {
        throw new Error('our fault');
      },
    ]) {
      for (const stream of [ours, other]) {
        assert.equal(context.createMediaStreamSource(stream).mediaStream, stream);
        assert.equal(new window.MediaStreamAudioSourceNode(context, { mediaStream: stream }).mediaStream, stream);
      }
    }
  });
});

describe('nodes that were made before us', () => {
  it('are taken up with what they are connected to, which stays connected', () => {
    const window = browser();
    const context = new window.AudioContext();
    const player = new window.AudioWorkletNode(context, 'player');
    const volume = new window.AudioNode(context);
    const apart = new window.AudioNode(context);
    player.connect(volume);
    volume.connect(context.destination);
    const graph = new AudioGraph(quiet);
    graph.install(window, quiet);
    const nodes = [player, volume, apart, context.destination] as unknown as AudioNode[];
    assert.equal(graph.adopt(nodes), 2);
    assert.deepEqual([...player.outputs], [volume]);
    assert.deepEqual([...volume.outputs], [context.destination]);
    assert.deepEqual([...apart.outputs], []);
    assert.deepEqual(
      graph.sources().map((source) => [source.node, source.processor, source.destination]),
      [[player, '', true]],
    );
    assert.equal(graph.adopt(nodes), 2);
    volume.disconnect();
    assert.deepEqual(graph.sources(), []);
  });

  it('of closed and offline contexts are left alone', () => {
    const window = browser();
    const closed = new window.AudioContext();
    const offline = Object.assign(new window.AudioContext(), { startRendering: quiet });
    const graph = new AudioGraph(quiet);
    const nodes = [closed, offline].map((context) => {
      const node = new window.AudioWorkletNode(context, 'player');
      node.connect(context.destination);
      return node;
    });
    closed.state = 'closed';
    graph.install(window, quiet);
    assert.equal(graph.adopt(nodes as unknown as AudioNode[]), 0);
  });
});

describe('windows that the page opens', () => {
  it('are hooked at once when they are of its origin', async () => {
    const found: object[] = [];
    const foreign = Object.defineProperty({}, 'location', {
      get: () => {
        throw new DOMException('cross-origin', 'SecurityError');
      },
    });
    const popout = { location: { origin: 'https://here' } };
    class DocumentPictureInPicture {
      requestWindow(): Promise<object> {
        return Promise.resolve(popout);
      }
    }
    const window = { DocumentPictureInPicture, open: (given: object | null): object | null => given };
    installPopouts(window, (one) => found.push(one), quiet);
    assert.equal(window.open(popout), popout);
    assert.deepEqual(found, [popout]);
    assert.equal(window.open(null), null);
    assert.equal(window.open(foreign), foreign);
    assert.deepEqual(found, [popout]);
    await new DocumentPictureInPicture().requestWindow();
    assert.deepEqual(found, [popout, popout]);
  });
});

describe('looping sounds', () => {
  it('are paused when they began since the ring and still loop', async () => {
    const window = browser();
    let now = 0;
    const elements = new MediaElements(() => now);
    elements.install(window, quiet);
    const make = async (at: number, loop: boolean) => {
      now = at;
      const element = new window.HTMLMediaElement();
      element.loop = loop;
      await element.play();
      return element;
    };
    const before = await make(10, true);
    const ring = await make(20, true);
    const beep = await make(25, false);
    const own = await make(30, true);
    elements.exempt(own as never);
    assert.equal(elements.stopLoops(20), 1);
    assert.deepEqual([before, ring, beep, own].map((element) => element.paused), [false, true, false, false]);
    assert.equal(elements.stopLoops(20), 0);
  });
});
