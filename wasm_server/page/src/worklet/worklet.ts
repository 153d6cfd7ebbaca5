/** The processor: hands each quantum to media.wasm. */

import { RingReader, type Feed, type Frame, type TakeFrame } from './frames.ts';
import { PROCESSOR_NAME, type FromProcessor, type StageOptions, type ToProcessor } from './messages.ts';
import { WasmMedia } from './wasm-media.ts';

/** How often the meter is reported: four times in the second over which stats() looks. */
const METER_INTERVAL_S = 0.25;

/** A function, since the class it extends exists in worklets only. */
export function registerMedia(): void {
  class PonteMedia extends AudioWorkletProcessor {
    private readonly media: WasmMedia;
    private readonly channels: Float32Array[] = [];
    private untilReading = METER_INTERVAL_S * sampleRate;
    private running = true;
    private reader: RingReader | null = null;
    private ending: MessagePort | null = null;
    private readonly take: TakeFrame;
    private readonly away: () => void;

    constructor(options: { processorOptions: unknown }) {
      super();
      const { module, abi } = options.processorOptions as StageOptions;
      const media = new WasmMedia(module, abi, sampleRate);
      this.media = media;
      this.take = (bytes, length, law, timestamp, stream) => {
        media.push(bytes, length, law, timestamp, stream);
      };
      this.away = () => {
        media.forgetLine();
      };
      this.port.onmessage = (event: MessageEvent<ToProcessor>) => {
        const order = event.data;
        if (order.type === 'stop') this.stop();
        else if (order.type === 'listen') this.listen(order.feed);
        else this.media.tone(order.hz, order.levelDbfs, order.ms);
      };
      this.say({ type: 'ready' });
    }

    process(inputs: readonly (readonly Float32Array[])[], outputs: readonly (readonly Float32Array[])[]): boolean {
      const out = outputs[0]?.[0];
      if (out === undefined) return this.running;
      this.reader?.drain(this.take, this.away);
      this.channels.length = 0;
      for (const input of inputs) {
        const channel = input[0];
        if (channel !== undefined) this.channels.push(channel);
      }
      this.media.process(this.channels, out);
      this.untilReading -= out.length;
      if (this.untilReading <= 0) {
        this.untilReading += METER_INTERVAL_S * sampleRate;
        this.say({ type: 'meter', ...this.media.read() });
        if (this.media.playsLine) this.say({ type: 'line', ...this.media.readLine() });
      }
      return this.running;
    }

    private listen(feed: Feed | null): void {
      this.leaveFeed();
      this.media.playsLine = feed !== null;
      if (feed === null) return;
      if ('ring' in feed) {
        this.reader = new RingReader(feed.ring);
        return;
      }
      this.ending = feed.port;
      feed.port.onmessage = ({ data }: MessageEvent<Frame>) => {
        this.media.push(data.bytes, data.length, data.law, data.timestamp, data.stream);
      };
    }

    private leaveFeed(): void {
      this.reader = null;
      this.ending?.postMessage(null);
      this.ending = null;
      this.media.forgetLine();
    }

    private stop(): void {
      this.leaveFeed();
      this.running = false;
    }

    private say(message: FromProcessor): void {
      this.port.postMessage(message);
    }
  }

  registerProcessor(PROCESSOR_NAME, PonteMedia);
}
