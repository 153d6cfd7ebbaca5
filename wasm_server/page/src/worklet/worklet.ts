/** The processor: hands each quantum to media.wasm. Bundled into worklet.js. */

import { PROCESSOR_NAME, type FromProcessor, type StageOptions, type ToProcessor } from './messages.ts';
import { WasmMedia } from './wasm-media.ts';

/** How often the meter is reported: four times in the second over which stats() looks. */
const METER_INTERVAL_S = 0.25;

class PonteMedia extends AudioWorkletProcessor {
  private readonly media: WasmMedia;
  private readonly channels: Float32Array[] = [];
  private untilReading = METER_INTERVAL_S * sampleRate;
  private running = true;

  constructor(options: { processorOptions: unknown }) {
    super();
    const { module, abi } = options.processorOptions as StageOptions;
    this.media = new WasmMedia(module, abi, sampleRate);
    this.port.onmessage = (event: MessageEvent<ToProcessor>) => {
      if (event.data.type === 'stop') this.running = false;
      else this.media.tone(event.data.hz, event.data.levelDbfs, event.data.ms);
    };
    this.say({ type: 'ready' });
  }

  process(inputs: readonly (readonly Float32Array[])[], outputs: readonly (readonly Float32Array[])[]): boolean {
    const out = outputs[0]?.[0];
    if (out === undefined) return this.running;
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
    }
    return this.running;
  }

  private say(message: FromProcessor): void {
    this.port.postMessage(message);
  }
}

registerProcessor(PROCESSOR_NAME, PonteMedia);
