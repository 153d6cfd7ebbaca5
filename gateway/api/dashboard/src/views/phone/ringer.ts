/** The sounds of a phone, made by the browser: its bell, and the tone of the other one's. */

const BELL = { hz: [440, 554], on_s: 0.9, every_s: 3 } as const;
const RINGBACK = { hz: [425], on_s: 1, every_s: 5 } as const; // ITU-T E.180, as in Brazil and most of Europe
const LEVEL = 0.08;

export class Ringer {
  #context: AudioContext | null = null;
  #again: ReturnType<typeof setInterval> | undefined;

  ring(): void {
    this.#repeat(BELL);
  }

  ringback(): void {
    this.#repeat(RINGBACK);
  }

  stop(): void {
    clearInterval(this.#again);
    this.#again = undefined;
    void this.#context?.close();
    this.#context = null;
  }

  #repeat(sound: { readonly hz: readonly number[]; readonly on_s: number; readonly every_s: number }): void {
    this.stop();
    const context = (this.#context = new AudioContext());
    const once = (): void => {
      const gain = new GainNode(context, { gain: LEVEL });
      gain.connect(context.destination);
      for (const hz of sound.hz) {
        const tone = new OscillatorNode(context, { frequency: hz });
        tone.connect(gain);
        tone.start();
        tone.stop(context.currentTime + sound.on_s);
      }
    };
    once();
    this.#again = setInterval(once, sound.every_s * 1000);
  }
}
