/** The peer connection towards the gateway: it offers, we answer. */

import { PonteError, describe } from '../errors.ts';
import type { Log, MediaState } from '../events.ts';

export const CODECS = ['opus', 'G722', 'PCMU', 'PCMA'] as const;
export type Codec = (typeof CODECS)[number];

/** What is sent from now on. */
export interface Sending {
  readonly codec: Codec;
  /** Of Opus, bit/s; null: Chrome's own choice. */
  readonly maxBitrate: number | null;
}

/** Host candidates take milliseconds; this is for a machine that stalls. */
const GATHERING_TIMEOUT_MS = 3000;

export interface PeerListener {
  state(state: MediaState): void;
  /** The remote track of the current connection, or null when there is none. */
  remote(track: MediaStreamTrack | null): void;
  /** Waited for before a connection is made. */
  prepare(): Promise<void>;
  /** What the coming connection receives by. */
  receiver(receiver: RTCRtpReceiver): void;
}

export class Peer {
  private connection: RTCPeerConnection | null = null;
  private sender: RTCRtpSender | null = null;
  private track: MediaStreamTrack | null = null;
  private sending: Sending | null = null;
  private buffered: { delay: number; count: number; receiver: RTCRtpReceiver | null } = {
    delay: 0,
    count: 0,
    receiver: null,
  };

  /** @param Connection RTCPeerConnection as it was before the page could replace it. */
  constructor(
    private readonly Connection: typeof RTCPeerConnection,
    private readonly listener: PeerListener,
    private readonly log: Log,
  ) {}

  get ice(): string {
    return this.connection?.iceConnectionState ?? 'new';
  }

  get exists(): boolean {
    return this.connection !== null;
  }

  async answer(offerSdp: string): Promise<string> {
    await this.listener.prepare();
    const connection = new this.Connection({ bundlePolicy: 'max-bundle' });
    // Chrome lets a transform in while it tells of the track, and never after that.
    connection.ontrack = ({ receiver }) => {
      if (receiver.track.kind === 'audio') this.listener.receiver(receiver);
    };
    try {
      await connection.setRemoteDescription({ type: 'offer', sdp: offerSdp });
    } catch (fault) {
      connection.close();
      throw new PonteError('bad_offer', describe(fault));
    }
    const transceiver = connection.getTransceivers().find((one) => one.receiver.track.kind === 'audio');
    if (transceiver === undefined) {
      connection.close();
      throw new PonteError('bad_offer', 'the offer has no audio');
    }
    this.close();
    this.connection = connection;
    this.sender = transceiver.sender;
    transceiver.direction = 'sendrecv';
    // The least that NetEq allows; it adapts upwards by itself.
    transceiver.receiver.jitterBufferTarget = 0;
    connection.onconnectionstatechange = () => {
      const state = connection.connectionState;
      if (this.connection !== connection || state === 'new') return;
      this.listener.state(state);
      if (state === 'failed') this.close();
    };
    await connection.setLocalDescription(await connection.createAnswer());
    await gathered(connection);
    if (this.connection !== connection) throw new PonteError('media_not_connected', 'a newer offer took its place');
    this.listener.remote(transceiver.receiver.track);
    await this.apply();
    const answer = connection.localDescription?.sdp;
    if (answer === undefined) throw new PonteError('internal', 'the answer has no description');
    return answer;
  }

  /** How long sound waits in Chrome's jitter buffer, averaged since the last look; null without sound. */
  async jitterBufferMs(): Promise<number | null> {
    const receiver = this.connection?.getReceivers()[0];
    if (receiver === undefined) return null;
    for (const entry of (await receiver.getStats()).values()) {
      const found = entry as { type: string; jitterBufferDelay?: number; jitterBufferEmittedCount?: number };
      if (found.type !== 'inbound-rtp') continue;
      const now = { delay: found.jitterBufferDelay ?? 0, count: found.jitterBufferEmittedCount ?? 0 };
      const before = this.buffered.receiver === receiver ? this.buffered : { delay: 0, count: 0 };
      this.buffered = { ...now, receiver };
      const count = now.count - before.count;
      return count > 0 ? Math.round((1000 * (now.delay - before.delay)) / count) : null;
    }
    return null;
  }

  /** What is sent from now on, and, when a later connection replaces this one, there as well; null sends nothing. */
  async send(track: MediaStreamTrack | null): Promise<void> {
    if (this.track === track) return;
    this.track = track;
    await this.sender?.replaceTrack(track);
  }

  async setCodec(sending: Sending): Promise<void> {
    const { codec, maxBitrate } = sending;
    if (this.sender === null) throw new PonteError('media_not_connected', 'there is no connection to the gateway');
    const parameters = this.sender.getParameters();
    const found = parameters.codecs.find((one) => one.mimeType.toLowerCase() === `audio/${codec.toLowerCase()}`);
    const encoding = parameters.encodings[0] as (RTCRtpEncodingParameters & { codec?: RTCRtpCodec }) | undefined;
    if (found === undefined || encoding === undefined) {
      throw new PonteError('codec_unsupported', `${codec} was not negotiated`);
    }
    this.sending = sending;
    const { mimeType, clockRate, channels = 1, sdpFmtpLine } = found;
    // Compared with what was negotiated, parameters as well.
    encoding.codec = { mimeType, clockRate, channels, ...(sdpFmtpLine === undefined ? {} : { sdpFmtpLine }) };
    if (maxBitrate === null) delete encoding.maxBitrate;
    else encoding.maxBitrate = maxBitrate;
    try {
      await this.sender.setParameters(parameters);
    } catch (fault) {
      throw new PonteError('codec_unsupported', describe(fault));
    }
  }

  close(): void {
    const connection = this.connection;
    this.connection = null;
    this.sender = null;
    if (connection === null) return;
    this.listener.remote(null);
    connection.close();
  }

  private async apply(): Promise<void> {
    if (this.track !== null) await this.sender?.replaceTrack(this.track);
    if (this.sending === null) return;
    try {
      await this.setCodec(this.sending);
    } catch (fault) {
      this.log('warning', `the codec of the earlier connection could not be kept: ${describe(fault)}`);
    }
  }
}

async function gathered(connection: RTCPeerConnection): Promise<void> {
  if (connection.iceGatheringState === 'complete') return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, GATHERING_TIMEOUT_MS);
    connection.addEventListener('icegatheringstatechange', () => {
      if (connection.iceGatheringState !== 'complete') return;
      clearTimeout(timer);
      resolve();
    });
  });
}
