import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decodingRate, gainOf, peaksOf, seek } from '../src/views/records/waveform.ts';

describe('the waveform', () => {
  it('keeps the extremes of each column, a single click too', () => {
    const samples = new Float32Array(1000);
    samples[777] = 0.5;
    samples[3] = -0.25;
    const peaks = peaksOf(samples, 10);
    assert.equal(peaks.length, 10);
    assert.deepEqual(peaks[7], { low: 0, high: 0.5 });
    assert.deepEqual(peaks[0], { low: -0.25, high: 0 });
    assert.deepEqual(peaks[5], { low: 0, high: 0 });
  });

  it('covers every sample where columns do not divide them', () => {
    for (const length of [1, 7, 99, 100, 101, 12_345]) {
      for (const at of [0, Math.floor(length / 2), length - 1]) {
        const samples = new Float32Array(length);
        samples[at] = 1;
        assert.equal(peaksOf(samples, 100).filter((peak) => peak.high === 1).length, 1, `${length} ${at}`);
      }
    }
  });

  it('makes no more columns than samples, and nothing of nothing', () => {
    assert.equal(peaksOf(new Float32Array(3), 100).length, 3);
    assert.deepEqual(peaksOf(new Float32Array(0), 100), []);
    assert.deepEqual(peaksOf(new Float32Array(5), 0), []);
  });

  it('draws quiet calls larger, noise not, loud ones within the frame', () => {
    const flat = (high: number) => [[{ low: -high / 2, high }]];
    assert.ok(Math.abs(gainOf(flat(0.5)) - 1.9) < 1e-9);
    assert.equal(gainOf(flat(0.05)), 8);
    assert.equal(gainOf(flat(0.01)), 1);
    assert.ok(gainOf(flat(1)) < 1);
    assert.equal(gainOf([]), 1);
    assert.equal(gainOf([[{ low: -0.95, high: 0.1 }]]), 1);
  });

  it('bounds the memory that decoding takes', () => {
    for (const seconds of [1, 1500, 1501, 4200]) {
      const rate = decodingRate(seconds);
      assert.ok(rate !== null && seconds * rate * 8 <= 105e6, String(seconds));
    }
    assert.equal(decodingRate(4201), null);
  });

  it('seeks by the keys of a slider, within the recording', () => {
    assert.deepEqual(
      ['ArrowLeft', 'ArrowRight', 'PageUp', 'PageDown', 'Home', 'End', 'x'].map((key) => seek(key, 10, 60)),
      [5, 15, 40, 0, 0, 60, null],
    );
    assert.equal(seek('ArrowRight', 58, 60), 60);
  });
});
