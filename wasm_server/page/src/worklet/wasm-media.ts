/** media.wasm as the processor uses it; names follow media/include/abi.h. */

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
}

export class WasmMedia {
  readonly blockFrames: number;
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
      this.exports.media_process(count, out.length);
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
      this.exports.media_process(count, frames);
      out.set(this.output.subarray(0, frames), start);
    }
  }

  tone(hz: readonly [number, number], levelDbfs: readonly [number, number], ms: number): void {
    const frames = Math.round((ms / 1000) * this.sampleRateHz);
    this.exports.media_tone_start(hz[0], levelDbfs[0], hz[1], levelDbfs[1], frames);
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
