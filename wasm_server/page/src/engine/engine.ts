/** The audio engine: peer connection, microphone and speaker, and the commands that concern sound. */

import { PonteError, describe } from '../errors.ts';
import type { Emit, Log } from '../events.ts';
import type { MediaElements } from '../hooks/media-elements.ts';
import type { LineReading, ToneOrder } from '../worklet/messages.ts';
import type { Meter, MeterStats } from './meters.ts';
import { Microphone, type MicrophoneParts } from './microphone.ts';
import { CODECS, Peer, type Codec, type Sending } from './peer.ts';
import { SelfTest, type SelfTestResult } from './self-test.ts';
import { Speaker, type SpeakerParts } from './speaker.ts';
import { Tap, type TapParts } from './tap.ts';

export interface Stats {
  readonly mic: MeterStats;
  readonly speaker: MeterStats;
  /** Whether anything that the page plays is taken and sent. */
  readonly speaker_taken: boolean;
  readonly worklet: 'wasm' | 'plain';
  readonly ice: string;
  /** Wait in Chrome's jitter buffer since the last call of stats(), the largest part of the delay towards WhatsApp. */
  readonly jitter_buffer_ms: number | null;
  /** Whether the microphone plays frames from before that buffer, through the media module's own, or Chrome's track. */
  readonly mic_path: 'encoded' | 'track';
  /** The media module's jitter buffer where the page listens; null without. */
  readonly mic_buffer: MicBuffer | null;
}

/** Times in ms; all but the first two are sums since the place where the page listens was made. */
export interface MicBuffer {
  readonly wait_ms: number;
  /** How much longer packets should wait, by the latest of the last four seconds. */
  readonly short_ms: number;
  readonly packets: number;
  readonly concealed_ms: number;
  readonly late_ms: number;
  readonly taken_out_ms: number;
  readonly put_in_ms: number;
  readonly given_up_ms: number;
  readonly restarts: number;
}

export interface EngineParts {
  readonly microphone: MicrophoneParts;
  readonly speaker: Omit<SpeakerParts, 'onTrack'>;
  readonly tap: TapParts;
  readonly Connection: typeof RTCPeerConnection;
  readonly Audio: typeof Audio;
  readonly elements: MediaElements;
  /** Have the browser look for devices ahead of a page that asks for them. */
  readonly warmDevices: () => void;
  readonly emit: Emit;
  readonly log: Log;
  readonly now: () => number;
  readonly sleeps: boolean;
}

/** After the last wide band frame the plain track is let go: long enough for packets that are on their way. */
const WIDE_LINGERS_MS = 1000;

/** What of a test's tone is on its way when a call's media begins: to the gateway, back, and through the jitter buffer. */
const TONE_LINGERS_MS = 120;

/** Longest tone that one command may ask for. */
const MAX_TONE_MS = 60_000;

export class Engine {
  readonly microphone: Microphone;
  readonly speaker: Speaker;
  private readonly peer: Peer;
  private readonly holder: HTMLAudioElement;
  private readonly tap: Tap;
  private remote: MediaStreamTrack | null = null;
  private trackNeeded = true;
  private started = false;
  /** By what was agreed on, and by what comes: the gateway's peer may use any codec of those that were agreed on. */
  private readonly wide = { agreed: false, heard: false };
  private test: SelfTest | null = null;
  private narrowing: ReturnType<typeof setTimeout> | undefined;
  private opening: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly parts: EngineParts) {
    this.tap = new Tap(parts.tap);
    this.microphone = new Microphone(parts.microphone, parts.sleeps, () => this.tap.feed());
    this.microphone.onTrackNeeded = (needed, alone) => {
      this.tap.pass(alone);
      this.needTrack(needed);
    };
    this.tap.onWide = (wide) => {
      this.wide.heard = wide;
      this.widen(false);
    };
    this.tap.onChange = () => {
      this.microphone.feedChanged();
    };
    this.tap.onLost = () => {
      // The gateway makes another connection at once, in a call too.
      this.peer.close();
      parts.emit({ type: 'media.state', state: 'closed' });
    };
    this.speaker = new Speaker({
      ...parts.speaker,
      onTrack: (track) => {
        this.peer.send(track).catch((fault: unknown) => {
          parts.log('error', `the speaker's track could not be sent: ${describe(fault)}`);
        });
      },
    });
    // Chrome gives Web Audio nothing of a remote track that no playing element holds as well.
    this.holder = new parts.Audio();
    this.holder.muted = true;
    parts.elements.exempt(this.holder);
    this.peer = new Peer(
      parts.Connection,
      {
        state: (state) => {
          parts.emit({ type: 'media.state', state });
        },
        remote: (track) => {
          this.remote = track;
          this.hold();
          this.microphone.setRemote(track);
        },
        prepare: () => this.tap.prepare(),
        receiver: (receiver) => {
          this.tap.attach(receiver);
        },
      },
      parts.log,
    );
  }

  get mediaStarted(): boolean {
    return this.started;
  }

  async answer(offerSdp: unknown): Promise<string> {
    if (typeof offerSdp !== 'string' || offerSdp === '') throw new PonteError('bad_offer', 'the offer is not a text');
    return await this.peer.answer(offerSdp);
  }

  async startMedia(options: unknown): Promise<null> {
    const sending = sendingOf(options);
    if (!this.peer.exists) throw new PonteError('media_not_connected', 'there is no connection to the gateway');
    const tested = this.test !== null;
    if (this.test !== null) {
      this.test.abort();
      await this.peer.send(null);
    }
    this.wide.agreed = isWide(sending.codec);
    this.widen(true);
    await this.peer.setCodec(sending).catch((fault: unknown) => {
      // The gateway converts what this browser sends instead.
      if (!(fault instanceof PonteError) || fault.code !== 'codec_unsupported') throw fault;
      this.parts.log('warning', `${sending.codec} cannot be sent: ${fault.message}`);
    });
    this.started = true;
    clearTimeout(this.opening);
    const open = (): void => {
      this.microphone.start();
    };
    if (tested) this.opening = setTimeout(open, TONE_LINGERS_MS);
    else open();
    this.speaker.start();
    return null;
  }

  /** Send a tone the way that a call's sound takes, and listen for it to come back; see self-test.ts. */
  async selfTest(): Promise<SelfTestResult> {
    if (!this.peer.exists) throw new PonteError('media_not_connected', 'there is no connection to the gateway');
    if (this.started || this.test !== null) throw new PonteError('busy_line', 'the audio is in use');
    const { microphone, peer, parts } = this;
    parts.warmDevices();
    const { graph, worklets } = parts.microphone;
    this.test = new SelfTest({ microphone, peer, graph, worklets, now: parts.now, log: parts.log });
    try {
      return await this.test.run();
    } finally {
      this.test = null;
    }
  }

  async setCodec(codec: unknown, maxBitrate: unknown): Promise<null> {
    const sending = sendingOf({ codec, maxBitrate });
    this.wide.agreed = isWide(sending.codec);
    this.widen(false);
    await this.peer.setCodec(sending);
    return null;
  }

  stopMedia(): null {
    this.started = false;
    clearTimeout(this.opening);
    this.microphone.stop();
    this.speaker.stop();
    this.wide.agreed = false;
    this.widen(true);
    return null;
  }

  async stats(): Promise<Stats> {
    const worklet = this.microphone.path === 'wasm' && this.speaker.path === 'wasm' ? 'wasm' : 'plain';
    const figures = (meter: Meter): MeterStats => meter.stats();
    return {
      mic: figures(this.microphone.meter),
      speaker: figures(this.speaker.meter),
      speaker_taken: this.speaker.taken,
      worklet,
      ice: this.peer.ice,
      jitter_buffer_ms: await this.peer.jitterBufferMs(),
      mic_path: this.microphone.encoded ? 'encoded' : 'track',
      mic_buffer: bufferOf(this.microphone.line),
    };
  }

  tone(options: unknown): null {
    const { order, to } = toneOf(options);
    const played = to === 'mic' ? this.microphone.tone(order) : this.speaker.tone(order);
    if (!played) throw new PonteError('no_audio_path', `no media module runs towards the ${to} now`);
    return null;
  }

  private widen(atOnce: boolean): void {
    clearTimeout(this.narrowing);
    const narrow = (): void => {
      this.microphone.setWide(this.wide.agreed || this.wide.heard);
    };
    if (atOnce || this.wide.agreed || this.wide.heard) narrow();
    else this.narrowing = setTimeout(narrow, WIDE_LINGERS_MS);
  }

  /** A track that nobody listens to need not be decoded. */
  private needTrack(needed: boolean): void {
    if (needed === this.trackNeeded) return;
    this.trackNeeded = needed;
    this.hold();
  }

  private hold(): void {
    if (this.remote === null || !this.trackNeeded) {
      this.holder.srcObject = null;
      return;
    }
    this.holder.srcObject = new this.parts.microphone.MediaStream([this.remote]);
    this.holder.play().catch((fault: unknown) => {
      // Replaced by a newer track before it began.
      if (fault instanceof Error && fault.name === 'AbortError') return;
      this.parts.log('error', `the remote track does not play: ${describe(fault)}`);
    });
  }
}

function bufferOf(line: LineReading | null): MicBuffer | null {
  if (line === null) return null;
  const tenths = (ms: number): number => Math.round(10 * ms) / 10;
  return {
    wait_ms: tenths(line.waitMs),
    short_ms: tenths(line.shortMs),
    packets: line.packets,
    concealed_ms: tenths(line.concealedMs),
    late_ms: tenths(line.lateMs),
    taken_out_ms: tenths(line.takenOutMs),
    put_in_ms: tenths(line.putInMs),
    given_up_ms: tenths(line.givenUpMs),
    restarts: line.restarts,
  };
}

function isWide(codec: Codec): boolean {
  return codec === 'opus' || codec === 'G722';
}

function sendingOf(options: unknown): Sending {
  const given = (typeof options === 'object' && options !== null ? options : {}) as Record<string, unknown>;
  const codec = CODECS.find((one) => one === given.codec);
  if (codec === undefined) throw new PonteError('bad_argument', `codec must be one of ${CODECS.join(', ')}`);
  const maxBitrate = given.maxBitrate ?? null;
  if (maxBitrate !== null && !(typeof maxBitrate === 'number' && maxBitrate >= 6000 && maxBitrate <= 510_000)) {
    throw new PonteError('bad_argument', 'maxBitrate must be a number from 6000 to 510000');
  }
  return { codec, maxBitrate };
}

export function toneOf(options: unknown): { order: ToneOrder; to: 'speaker' | 'mic' } {
  const given = (typeof options === 'object' && options !== null ? options : {}) as Record<string, unknown>;
  const number = (name: string, least: number, most: number, value: unknown): number => {
    if (typeof value !== 'number' || !(value >= least && value <= most)) {
      throw new PonteError('bad_argument', `${name} must be a number from ${least} to ${most}`);
    }
    return value;
  };
  // One frequency, or two at once as telephone keys have them.
  const hz = Array.isArray(given.hz) ? (given.hz as unknown[]) : [given.hz];
  if (hz.length > 2) throw new PonteError('bad_argument', 'a tone has one or two frequencies');
  const level = number('level_dbfs', -100, 0, given.level_dbfs);
  if (given.to !== 'speaker' && given.to !== 'mic') throw new PonteError('bad_argument', 'to must be speaker or mic');
  const first = number('hz', 1, 24_000, hz[0]);
  const second = hz.length === 2 ? number('hz', 1, 24_000, hz[1]) : 0;
  const ms = number('ms', 1, MAX_TONE_MS, given.ms);
  return { order: { type: 'tone', hz: [first, second], levelDbfs: [level, level], ms }, to: given.to };
}
