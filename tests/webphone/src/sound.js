// What a client speaks and hears: a tone instead of a microphone, an analyser instead of an ear.

/** One tone to speak, and the last two thirds of a second of what was heard. */
export class Sound {
  constructor() {
    this.context = new AudioContext();
    this.holders = [];
  }

  /** A stream with a tone of `hz` at `dbfs`. */
  async tone(hz, dbfs) {
    await this.context.resume();
    const sent = this.context.createMediaStreamDestination();
    const oscillator = new OscillatorNode(this.context, { frequency: hz });
    oscillator.connect(new GainNode(this.context, { gain: 10 ** (dbfs / 20) })).connect(sent);
    oscillator.start();
    return sent.stream;
  }

  /** Listen to a remote track; the muted <audio> is what makes Chrome feed it into Web Audio at all. */
  listen(track) {
    const stream = new MediaStream([track]);
    const holder = new Audio();
    holder.muted = true;
    holder.srcObject = stream;
    holder.play();
    this.holders.push(holder);
    this.analyser = new AnalyserNode(this.context, { fftSize: 32768 });
    this.context.createMediaStreamSource(stream).connect(this.analyser);
  }

  /** Rate and samples of what was heard last. */
  heard() {
    const samples = new Float32Array(this.analyser.fftSize);
    this.analyser.getFloatTimeDomainData(samples);
    return { rate_hz: this.context.sampleRate, samples: Array.from(samples) };
  }
}
