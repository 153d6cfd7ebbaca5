/** media.wasm as the processor uses it; names follow media/include/abi.h. */

import type { LineReading } from './messages.ts';

interface Exports {
  readonly memory: WebAssembly.Memory;
  abi_version(): number;
  media_init(sampleRateHz: number): void;
  media_input(index: number): number;
  media_output(): number;
  media_max_inputs(): number;
  media_block_frames(): number;
  media_tone_start(firstHz: number, firstDbfs: number, secondHz: number, secondDbfs: number, frames: number): void;
  media_process(inputs: number, frames: number): void;
  media_meter_rms_dbfs(): number;
  media_meter_peak_dbfs(): number;
  media_meter_clipped(): number;
  media_meter_frames(): number;
  media_meter_reset(): void;
  media_silent_frames(): number;
  media_frame(): number;
  media_frame_bytes(): number;
  media_jitter_push(length: number, law: number, timestamp: number, stream: number): void;
  media_jitter_read(index: number, frames: number): void;
  media_jitter_reset(): void;
  media_jitter_stat(index: number): number;
}

export class WasmMedia {
  readonly blockFrames: number;
  /** Whether the jitter buffer's sound is mixed in. */
  playsLine = false;
  private readonly frame: Uint8Array;
  private readonly exports: Exports;
  private readonly inputs: readonly Float32Array[];
  private readonly output: Float32Array;
  /** The part of the output that one quantum takes. */
  private quantum: Float32Array;

  constructor(
    module: WebAssembly.Module,
    abi: number,
    private readonly sampleRateHz: number,
  ) {
    this.exports = new WebAssembly.Instance(module).exports as unknown as Exports;
    const found = this.exports.abi_version();
    if (found !== abi) throw new Error(`media.wasm has ABI ${found}, the bundle ${abi}`);
    this.exports.media_init(sampleRateHz);
    this.blockFrames = this.exports.media_block_frames();
    // The module never grows its memory, so these views stay valid.
    const view = (address: number): Float32Array =>
      new Float32Array(this.exports.memory.buffer, address, this.blockFrames);
    this.inputs = Array.from({ length: this.exports.media_max_inputs() }, (_, i) => view(this.exports.media_input(i)));
    this.output = view(this.exports.media_output());
    this.quantum = this.output.subarray(0, 128);
    this.frame = new Uint8Array(
      this.exports.memory.buffer,
      this.exports.media_frame(),
      this.exports.media_frame_bytes(),
    );
  }

  /** Mix what is connected, add a tone that plays, meter, limit. Frames beyond a block are done in turns. */
  process(channels: readonly Float32Array[], out: Float32Array): void {
    const count = Math.min(channels.length, this.inputs.length);
    if (out.length <= this.blockFrames) {
      // The usual case, a quantum of 128 frames, leaves no garbage on the audio thread.
      for (let i = 0; i < count; i++) {
        const channel = channels[i];
        if (channel !== undefined) this.inputs[i]?.set(channel);
      }
      this.exports.media_process(this.addLine(count, out.length), out.length);
      if (this.quantum.length !== out.length) this.quantum = this.output.subarray(0, out.length);
      out.set(this.quantum);
      return;
    }
    for (let start = 0; start < out.length; start += this.blockFrames) {
      const frames = Math.min(this.blockFrames, out.length - start);
      for (let i = 0; i < count; i++) {
        const channel = channels[i];
        if (channel !== undefined) this.inputs[i]?.set(channel.subarray(start, start + frames));
      }
      this.exports.media_process(this.addLine(count, frames), frames);
      out.set(this.output.subarray(0, frames), start);
    }
  }

  /** Take an encoded frame; see abi.h. Longer ones than it allows are cut by the caller. */
  push(bytes: Uint8Array, length: number, law: number, timestamp: number, stream: number): void {
    this.frame.set(bytes);
    this.exports.media_jitter_push(length, law, timestamp, stream);
  }

  forgetLine(): void {
    this.exports.media_jitter_reset();
  }

  readLine(): Omit<LineReading, 'type'> {
    const figure = (index: number): number => this.exports.media_jitter_stat(index);
    return {
      packets: figure(0),
      waitMs: figure(1),
      shortMs: figure(2),
      concealedMs: figure(3),
      lateMs: figure(4),
      takenOutMs: figure(5),
      putInMs: figure(6),
      givenUpMs: figure(7),
      restarts: figure(8),
    };
  }

  tone(hz: readonly [number, number], levelDbfs: readonly [number, number], ms: number): void {
    const frames = Math.round((ms / 1000) * this.sampleRateHz);
    this.exports.media_tone_start(hz[0], levelDbfs[0], hz[1], levelDbfs[1], frames);
  }

  /** Put the line's next frames beside the other inputs; the last of these gives way. Returns how many there are. */
  private addLine(count: number, frames: number): number {
    if (!this.playsLine) return count;
    const index = Math.min(count, this.inputs.length - 1);
    this.exports.media_jitter_read(index, frames);
    return index + 1;
  }

  /** The meter since the last reading. */
  read(): { rmsDbfs: number; peakDbfs: number; clipped: number; frames: number; silentMs: number } {
    const reading = {
      rmsDbfs: this.exports.media_meter_rms_dbfs(),
      peakDbfs: this.exports.media_meter_peak_dbfs(),
      clipped: this.exports.media_meter_clipped(),
      frames: this.exports.media_meter_frames(),
      silentMs: Math.round((this.exports.media_silent_frames() * 1000) / this.sampleRateHz),
    };
    this.exports.media_meter_reset();
    return reading;
  }
}
