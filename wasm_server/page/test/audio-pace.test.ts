import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { installAudioPace } from '../src/hooks/audio-pace.ts';

function asked(...args: unknown[]): unknown {
  class AudioContext {
    readonly options: unknown;
    constructor(options?: unknown) {
      this.options = options;
    }
  }
  const window = { AudioContext };
  installAudioPace(window, () => assert.fail('nothing to log'));
  const made = Reflect.construct(window.AudioContext, args) as { options: unknown };
  assert.ok(made instanceof window.AudioContext);
  return made.options;
}

describe('the pace of a context', () => {
  it('is a quantum at a time at 16 kHz, unless the page asks for another', () => {
    assert.deepEqual(asked({ sampleRate: 16000, latencyHint: 'interactive' }), { sampleRate: 16000, latencyHint: 0 });
    assert.deepEqual(asked({ sampleRate: 16000 }), { sampleRate: 16000, latencyHint: 0 });
    for (const latencyHint of ['playback', 'balanced', 0.1]) {
      assert.deepEqual(asked({ sampleRate: 16000, latencyHint }), { sampleRate: 16000, latencyHint });
    }
  });

  it('is left alone at other rates', () => {
    assert.equal(asked(), undefined);
    assert.deepEqual(asked({ sampleRate: 48000 }), { sampleRate: 48000 });
  });
});
