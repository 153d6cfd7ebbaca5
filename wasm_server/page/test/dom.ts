/** The few classes of the browser that the hooks touch, as node lacks them. */

export class Track {
  kind = 'audio';
  enabledValue = true;
  readyState = 'live';
  label = 'native';

  get enabled(): boolean {
    return this.enabledValue;
  }

  set enabled(value: boolean) {
    this.enabledValue = value;
  }

  stop(): void {
    this.readyState = 'ended';
  }

  clone(): Track {
    const copy = new Track();
    copy.enabledValue = this.enabledValue;
    return copy;
  }

  getSettings(): object {
    return { deviceId: 'graph', sampleRate: 48000 };
  }
}

export class Stream {
  constructor(readonly tracks: Track[] = []) {}

  getTracks(): Track[] {
    return this.tracks;
  }

  getAudioTracks(): Track[] {
    return this.tracks.filter((track) => track.kind === 'audio');
  }

  addTrack(track: Track): void {
    this.tracks.push(track);
  }

  clone(): Stream {
    return new Stream(this.tracks.map((track) => Track.prototype.clone.call(track)));
  }
}

/** A fresh class each time, since the hooks change prototypes. */
export function browser() {
  class MediaStreamTrack extends Track {
    override get enabled(): boolean {
      return this.enabledValue;
    }
    override set enabled(value: boolean) {
      this.enabledValue = value;
    }
    override stop(): void {
      super.stop();
    }
    override clone(): MediaStreamTrack {
      return Object.assign(new MediaStreamTrack(), { enabledValue: this.enabledValue });
    }
  }
  class MediaStream extends Stream {
    override clone(): MediaStream {
      return new MediaStream(this.tracks.map(() => new MediaStreamTrack()));
    }
  }
  class MediaDevices {
    readonly asked: unknown[] = [];
    camera = false;
    devices: { kind: string; deviceId: string }[] = [];

    getUserMedia(constraints: unknown): Promise<MediaStream> {
      this.asked.push(constraints);
      if (!this.camera) return Promise.reject(new DOMException('no device', 'NotFoundError'));
      const track = new MediaStreamTrack();
      track.kind = 'video';
      return Promise.resolve(new MediaStream([track]));
    }

    delay: Promise<unknown> = Promise.resolve();

    async enumerateDevices(): Promise<{ kind: string; deviceId: string }[]> {
      await this.delay;
      return this.devices;
    }
  }
  class Permissions {
    query({ name }: { name: string }): Promise<{ name: string; state: string }> {
      return Promise.resolve({ name, state: 'prompt' });
    }
  }
  class AudioParam {
    value = 1;
  }
  class AudioNode {
    readonly numberOfInputs = 1;
    readonly numberOfOutputs = 1;
    readonly outputs = new Set<unknown>();
    constructor(readonly context: { state: string; destination: AudioNode | null }) {}
    connect(to: unknown): unknown {
      this.outputs.add(to);
      return to;
    }
    disconnect(to?: unknown): void {
      if (to === undefined || typeof to === 'number') this.outputs.clear();
      else if (!this.outputs.delete(to)) throw new DOMException('not connected', 'InvalidAccessError');
    }
  }
  class AudioWorkletNode extends AudioNode {
    readonly port = {};
    readonly parameters = {};
    constructor(
      context: AudioNode['context'],
      readonly name: string,
    ) {
      super(context);
    }
  }
  class MediaStreamAudioDestinationNode extends AudioNode {
    readonly stream = new MediaStream();
  }
  class MediaStreamAudioSourceNode extends AudioNode {
    readonly mediaStream: Stream;
    constructor(context: AudioNode['context'], options: { mediaStream: Stream }) {
      super(context);
      this.mediaStream = options.mediaStream;
    }
  }
  class AudioContext {
    state = 'running';
    readonly destination: AudioNode;
    constructor() {
      this.destination = new AudioNode(this);
    }
    createMediaStreamSource(stream: Stream): MediaStreamAudioSourceNode {
      return new MediaStreamAudioSourceNode(this, { mediaStream: stream });
    }
  }
  class HTMLMediaElement {
    loop = false;
    paused = true;
    play(): Promise<void> {
      this.paused = false;
      return Promise.resolve();
    }
    pause(): void {
      this.paused = true;
    }
  }
  class InputDeviceInfo {}
  return {
    MediaStreamTrack,
    MediaStream,
    MediaDevices,
    Permissions,
    AudioParam,
    AudioNode,
    AudioWorkletNode,
    MediaStreamAudioDestinationNode,
    MediaStreamAudioSourceNode,
    AudioContext,
    HTMLMediaElement,
    InputDeviceInfo,
    document: { querySelectorAll: (): HTMLMediaElement[] => [] },
  };
}

export const quiet = (): void => undefined;
