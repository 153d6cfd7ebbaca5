// Writes the microphone into its ring, and notes when it receives the first sample of each burst of sound.
class CaptureProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.running = false;
    this.quietFrames = Infinity;
    this.overruns = 0;
    this.port.onmessage = (event) => {
      const { type } = event.data;
      if (type === "initSharedBuffer") {
        const { heapBuffer, heapBufferOffset, bufferSize } = event.data;
        this.positions = new Uint32Array(heapBuffer, heapBufferOffset, 2);
        this.signal = new Int32Array(heapBuffer, heapBufferOffset, 1);
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

  process(inputs) {
    if (!this.running || this.ring === undefined) {
      return true;
    }
    const [input] = inputs[0];
    if (input === undefined) {
      return true; // nothing is connected, or the track has ended: nothing is written, as in the real page
    }
    const size = this.ring.length;
    let write = Atomics.load(this.positions, 0);
    const read = Atomics.load(this.positions, 1);
    if (size - 1 - ((write - read + size) % size) < input.length) {
      this.overruns += 1;
      this.line.postMessage({ type: "overrun", count: this.overruns });
      return true;
    }
    for (let index = 0; index < input.length; index++) {
      this.ring[write] = input[index];
      write = (write + 1) % size;
    }
    Atomics.store(this.positions, 0, write);
    Atomics.notify(this.signal, 0);
    this.watch(input);
    return true;
  }

  // Silence of 150 ms, then a sample above -50 dBFS: a burst begins.
  watch(samples) {
    for (let index = 0; index < samples.length; index++) {
      if (Math.abs(samples[index]) > 0.00316) {
        if (this.quietFrames >= 0.15 * sampleRate) {
          this.line.postMessage({ type: "mark", kind: "received", ms: Date.now(), frame: currentFrame + index });
        }
        this.quietFrames = 0;
      } else {
        this.quietFrames += 1;
      }
    }
  }
}
registerProcessor("voip-shared-buffer-capture-processor", CaptureProcessor);
