/** The processor's side of media.wasm, with the module as it was built (MEDIA_WASM names it). */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { before, describe, it } from 'node:test';
import { ABI } from '../src/config.ts';
import { WasmMedia } from '../src/worklet/wasm-media.ts';

const path = process.env.MEDIA_WASM;

describe('media.wasm in the processor', { skip: path === undefined && 'MEDIA_WASM is not set' }, () => {
  let module: WebAssembly.Module;
  before(async () => {
    module = await WebAssembly.compile(new Uint8Array(await readFile(path ?? '')));
  });

  const constant = (value: number, frames: number): Float32Array => new Float32Array(frames).fill(value);

  it('mixes quanta, and longer blocks in turns, alike', () => {
    for (const frames of [128, 1024, 3000]) {
      const media = new WasmMedia(module, ABI, 48000);
      const out = new Float32Array(frames);
      for (let n = 0; n < 3; n++) media.process([constant(0.25, frames), constant(0.125, frames)], out);
      assert.deepEqual(out, constant(0.375, frames));
    }
  });

  it('leaves inputs beyond the last out and gives silence without any', () => {
    const media = new WasmMedia(module, ABI, 48000);
    const out = new Float32Array(128);
    const many = Array.from({ length: 12 }, () => constant(0.0625, 128));
    for (let n = 0; n < 2; n++) media.process(many, out);
    assert.equal(out[127], 0.5);
    for (let n = 0; n < 2; n++) media.process([], out);
    assert.equal(out[127], 0);
  });

  it('reads the meter once for what came since', () => {
    const media = new WasmMedia(module, ABI, 16000);
    media.tone([1000, 0], [-20, -20], 1000);
    const out = new Float32Array(128);
    for (let n = 0; n < 50; n++) media.process([], out);
    const reading = media.read();
    assert.ok(Math.abs(reading.rmsDbfs + 20) < 0.2);
    assert.deepEqual([reading.frames, reading.clipped, reading.silentMs], [6400, 0, 0]);
    assert.equal(media.read().frames, 0);
  });

  it('is refused when its ABI is another one', () => {
    assert.throws(() => new WasmMedia(module, ABI + 1, 48000), /ABI/);
  });
});
