/** The worker's half of worklet.js: takes encoded frames from before Chrome's own jitter buffer. */

import { RingWriter, framesOf, type Frame } from './frames.ts';

export type ToTap =
  | { readonly type: 'start'; readonly ring: SharedArrayBuffer | null }
  | { readonly type: 'listener'; readonly port: MessagePort }
  /** Whether G.711 goes on to Chrome's own decoder as well, for whoever listens to the plain track. */
  | { readonly type: 'track'; readonly passed: boolean };

export type FromTap =
  | { readonly type: 'ready' }
  | { readonly type: 'attached' }
  /** Whether frames come that only Chrome can decode; told when that changes. */
  | { readonly type: 'wide'; readonly wide: boolean };

/** Payload types of PCMU and PCMA, which the media module decodes. All others go to Chrome's decoder and nowhere else. */
const LAWS: readonly number[] = [0, 8];

/** RTCEncodedAudioFrame, as far as it is used. */
interface EncodedFrame {
  readonly data: ArrayBuffer;
  getMetadata(): { readonly payloadType?: number; readonly rtpTimestamp?: number };
}

interface TransformScope {
  onmessage: ((event: MessageEvent<ToTap>) => void) | null;
  onrtctransform: ((event: { readonly transformer: Transformer }) => void) | null;
  postMessage(message: FromTap): void;
}

interface Transformer {
  readonly readable: ReadableStream<EncodedFrame>;
  readonly writable: WritableStream<EncodedFrame>;
}

export function runTap(scope: TransformScope): void {
  let ring: RingWriter | null = null;
  let ports: MessagePort[] = [];
  let passed = true;
  let streams = 0;
  let wide = false;

  const tell = (now: boolean): void => {
    if (now === wide) return;
    wide = now;
    scope.postMessage({ type: 'wide', wide });
  };
  const give = (frame: Frame): void => {
    ring?.write(frame);
    for (const port of ports) port.postMessage(frame);
  };

  const pump = async ({ readable, writable }: Transformer, stream: number): Promise<void> => {
    const reader = readable.getReader();
    const writer = writable.getWriter();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const { payloadType, rtpTimestamp } = value.getMetadata();
      const law = payloadType !== undefined && LAWS.includes(payloadType);
      if (law && rtpTimestamp !== undefined) {
        framesOf(new Uint8Array(value.data), payloadType, rtpTimestamp, stream).forEach(give);
      }
      if (payloadType !== undefined) tell(!law);
      // Not waited for: the decoder takes a frame at once, or is gone together with its connection.
      if (passed || !law) writer.write(value).catch(() => undefined);
    }
  };

  scope.onmessage = ({ data }) => {
    if (data.type === 'start') {
      ring = data.ring === null ? null : new RingWriter(data.ring);
    } else if (data.type === 'listener') {
      const { port } = data;
      ports.push(port);
      port.onmessage = () => {
        ports = ports.filter((other) => other !== port);
        port.close();
      };
    } else {
      passed = data.passed;
    }
  };
  scope.onrtctransform = ({ transformer }) => {
    streams += 1;
    scope.postMessage({ type: 'attached' });
    // It ends with its connection, by the stream's end or by its failure.
    pump(transformer, streams).catch(() => undefined);
  };
  scope.postMessage({ type: 'ready' });
}
