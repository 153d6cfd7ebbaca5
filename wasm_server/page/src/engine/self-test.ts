/**
 * Proof of sound before a call: a tone through all that a call's sound will go through, heard by nobody.
 *
 * In our own context, which runs while a call rings, the media module plays 200 ms of a tone into a track that is sent as
 * the speaker's would be. The gateway decodes what comes and sends it back, and the module's jitter buffer plays it
 * where the page's microphone will be, behind a gate that is shut.
 */

import type { NativeGraph } from '../hooks/audio-graph.ts';
import type { Log } from '../events.ts';
import type { Microphone } from './microphone.ts';
import type { Peer } from './peer.ts';
import { Stage } from './stage.ts';
import type { Worklets } from './worklets.ts';

export interface SelfTestResult {
  /** A call's media began meanwhile, or the gateway took no notice: nothing was found out. */
  readonly aborted: boolean;
  /** Whether the module played the tone. */
  readonly played: boolean;
  /** Encoded frames that came back; null where the microphone plays Chrome's track. */
  readonly packets: number | null;
  /** The loudest of what came back; null where nothing was metered. */
  readonly heard_dbfs: number | null;
  /** From the tone's beginning to its being noticed, which is looked for every 20 ms in readings of 250. */
  readonly took_ms: number | null;
}

export interface SelfTestParts {
  readonly microphone: Microphone;
  readonly peer: Peer;
  readonly graph: NativeGraph;
  readonly worklets: Worklets;
  readonly now: () => number;
  readonly log: Log;
}

const TONE_HZ = 1000;
const TONE_DBFS = -20;
const TONE_MS = 200;
/** The context, the worklet's module and the gateway's first packet, on a loaded machine. */
const START_MS = 1000;
const PATIENCE_MS = 1500;
/** Below it nothing came back; the tone is 20 dB above. */
const HEARD_DBFS = -40;
const LOOK_MS = 20;

export class SelfTest {
  private stopped = false;

  constructor(private readonly parts: SelfTestParts) {}

  /** End it at once: a call's media begins. */
  abort(): void {
    this.stopped = true;
  }

  async run(): Promise<SelfTestResult> {
    const { microphone, peer, graph, worklets, now, log } = this.parts;
    const context = microphone.beginTest();
    const stage = new Stage(context, graph, worklets, { meter: () => undefined }, log);
    const destination = context.createMediaStreamDestination();
    destination.channelCount = 1;
    graph.connect(stage.output, destination);
    const track = destination.stream.getAudioTracks()[0] ?? null;
    // The first reading may hold the last call's sound: the meter stood still when that ended.
    const quiet = (): boolean => {
      const { peakDbfs } = microphone.testReading();
      if (peakDbfs !== null && peakDbfs > HEARD_DBFS) microphone.forgetTestReading();
      return peakDbfs !== null && peakDbfs <= HEARD_DBFS;
    };
    try {
      await peer.setCodec({ codec: 'PCMU', maxBitrate: null });
      // What a call sends by now must stay.
      if (!this.stopped) await peer.send(track);
      await this.until(() => stage.path === 'wasm' && microphone.testReading().ready && quiet(), START_MS);
      const before = microphone.testReading();
      const began = now();
      const played = !this.stopped && stage.tone({ type: 'tone', hz: [TONE_HZ, 0], levelDbfs: [TONE_DBFS, TONE_DBFS], ms: TONE_MS });
      const heard = (): boolean => (microphone.testReading().peakDbfs ?? -200) > HEARD_DBFS;
      if (played) await this.until(heard, PATIENCE_MS);
      const after = microphone.testReading();
      return {
        aborted: this.stopped,
        played,
        packets: after.packets === null ? null : after.packets - (before.packets ?? 0),
        heard_dbfs: after.peakDbfs,
        took_ms: heard() ? Math.round(now() - began) : null,
      };
    } finally {
      // A call that began meanwhile sends a track of its own by now.
      if (!this.stopped) await peer.send(null);
      track?.stop();
      stage.close();
      microphone.endTest();
    }
  }

  private async until(seen: () => boolean, patienceMs: number): Promise<void> {
    const deadline = this.parts.now() + patienceMs;
    while (!seen() && !this.stopped && this.parts.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }
}
