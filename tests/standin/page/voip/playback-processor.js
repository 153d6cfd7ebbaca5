// Plays the ring of the far end's voice, and notes when it emits the first sample of each burst of sound.
class PlaybackProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.running = false;
    this.quietFrames = Infinity;
    this.port.onmessage = (event) => {
      const { type } = event.data;
      if (type === "initSharedBuffer") {
        const { heapBuffer, heapBufferOffset, bufferSize } = event.data;
        this.positions = new Uint32Array(heapBuffer, heapBufferOffset, 2);
        this.ring = new Float32Array(heapBuffer, heapBufferOffset + 8, bufferSize);
        this.line = event.data.line;
        this.line.onmessage = (ping) => this.line.postMessage({ ...ping.data, workletMs: Date.now() });
      } else if (type === "start") {
        this.running = true;
      } else if (type === "stop") {
        this.running = false;
      }
    };
    this.port.postMessage({ type: "ready" });
  }

  process(_inputs, outputs) {
    const [output] = outputs[0];
    if (!this.running || this.ring === undefined || output === undefined) {
      return true;
    }
    const size = this.ring.length;
    const write = Atomics.load(this.positions, 0);
    let read = Atomics.load(this.positions, 1);
    const frames = Math.min((write - read + size) % size, output.length);
    for (let index = 0; index < frames; index++) {
      output[index] = this.ring[read];
      read = (read + 1) % size;
    }
    Atomics.store(this.positions, 1, read);
    this.watch(output);
    return true;
  }

  // Silence of 150 ms, then a sample above -50 dBFS: a burst begins.
  watch(samples) {
    for (let index = 0; index < samples.length; index++) {
      if (Math.abs(samples[index]) > 0.00316) {
        if (this.quietFrames >= 0.15 * sampleRate) {
          this.line.postMessage({ type: "mark", kind: "emitted", ms: Date.now(), frame: currentFrame + index });
        }
        this.quietFrames = 0;
      } else {
        this.quietFrames += 1;
      }
    }
  }
}
registerProcessor("voip-shared-buffer-playback-processor", PlaybackProcessor);
