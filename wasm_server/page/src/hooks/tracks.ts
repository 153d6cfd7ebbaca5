/**
 * The microphone tracks handed to the page.
 *
 * Each is a clone of the plain track: it is live before any peer connection exists and does not end with one. What the
 * page does to its clone (mute, stop, clone again) is observed, because where the page feeds it into Web Audio our own
 * nodes stand in for it and must do the same.
 */

import type { Log } from '../events.ts';
import { DEVICE_ID, MICROPHONE_LABEL } from './media-devices.ts';
import { patchMethod } from './patch.ts';

export interface HandedTrack {
  readonly track: MediaStreamTrack;
  /** Neither stopped nor muted by the page. */
  readonly audible: boolean;
  readonly stopped: boolean;
  onChange(listener: () => void): void;
}

interface TracksWindow {
  readonly MediaStream: { readonly prototype: object };
  readonly MediaStreamTrack: { readonly prototype: object };
}

class Handed implements HandedTrack {
  stopped = false;
  private readonly listeners: (() => void)[] = [];

  constructor(readonly track: MediaStreamTrack) {}

  get audible(): boolean {
    return !this.stopped && this.track.enabled;
  }

  onChange(listener: () => void): void {
    this.listeners.push(listener);
  }

  changed(): void {
    for (const listener of this.listeners) listener();
  }
}

export class MicrophoneTracks {
  private readonly handed = new WeakMap<MediaStreamTrack, Handed>();
  private live = 0;

  /**
   * @param plain gives the track to clone; called at the first request, when an AudioContext may be made.
   * @param onLive told how many tracks of ours the page holds, whenever that changes.
   */
  constructor(
    private readonly plain: () => MediaStreamTrack,
    private readonly onLive: (count: number) => void,
  ) {}

  fresh(): MediaStreamTrack {
    return this.adopt(this.plain().clone());
  }

  find(track: MediaStreamTrack): HandedTrack | undefined {
    return this.handed.get(track);
  }

  /** The first track of ours in a stream. */
  inStream(stream: MediaStream): HandedTrack | undefined {
    for (const track of stream.getAudioTracks()) {
      const found = this.handed.get(track);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  private adopt(track: MediaStreamTrack): MediaStreamTrack {
    const handed = new Handed(track);
    this.handed.set(track, handed);
    // A page shows and stores what a device says of itself; the plain track would name an audio graph.
    Object.defineProperty(track, 'label', { value: MICROPHONE_LABEL });
    const settings = track.getSettings.bind(track);
    Object.defineProperty(track, 'getSettings', {
      value: () => ({ ...settings(), deviceId: DEVICE_ID, channelCount: 1 }),
    });
    // Echo cancellation and the like have no meaning here, and a refusal would send the page to another device.
    Object.defineProperty(track, 'applyConstraints', { value: () => Promise.resolve() });
    this.live += 1;
    this.onLive(this.live);
    return track;
  }

  /** Watch what the page does to its tracks. Only tracks of ours are touched; the others pay one map look-up. */
  install(window: TracksWindow, log: Log): void {
    const prototype = window.MediaStreamTrack.prototype;

    patchMethod(prototype, 'stop', log, (self, _args, native) => {
      native();
      const handed = this.handed.get(self as MediaStreamTrack);
      if (handed !== undefined && !handed.stopped) {
        handed.stopped = true;
        this.live -= 1;
        this.onLive(this.live);
        handed.changed();
      }
      return undefined;
    });

    patchMethod(prototype, 'clone', log, (self, _args, native) => {
      const copy = native() as MediaStreamTrack;
      return this.handed.has(self as MediaStreamTrack) ? this.adopt(copy) : copy;
    });

    // MediaStream.clone() copies the tracks without asking their clone().
    patchMethod(window.MediaStream.prototype, 'clone', log, (self, _args, native) => {
      const copy = native() as MediaStream;
      const originals = (self as MediaStream).getTracks();
      copy.getTracks().forEach((track, index) => {
        const original = originals[index];
        if (original !== undefined && this.handed.has(original)) this.adopt(track);
      });
      return copy;
    });

    const enabled = Object.getOwnPropertyDescriptor(prototype, 'enabled');
    // eslint-disable-next-line @typescript-eslint/unbound-method -- called with the track as `this` below
    const setEnabled = enabled?.set;
    if (enabled?.configurable !== true || setEnabled === undefined) {
      log('warning', 'MediaStreamTrack.enabled is not there to be observed');
      return;
    }
    const handedTracks = this.handed;
    Object.defineProperty(prototype, 'enabled', {
      ...enabled,
      set(this: MediaStreamTrack, value: boolean) {
        setEnabled.call(this, value);
        handedTracks.get(this)?.changed();
      },
    });
  }
}
