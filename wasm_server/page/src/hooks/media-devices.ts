/** navigator.mediaDevices as the page sees it: one microphone, ours, and everything else as it was. */

import type { Log } from '../events.ts';
import { NATIVE, patchMethod } from './patch.ts';

/** What stands behind the microphone that the page is given. */
export interface TrackSource {
  /** A live audio track of its own; stopping it leaves the others alone. */
  fresh(): MediaStreamTrack;
}

export const MICROPHONE_LABEL = 'Ponte microphone';
export const SPEAKER_LABEL = 'Ponte speaker';
export const DEVICE_ID = 'default';
const GROUP_ID = 'ponte';

interface DevicesWindow {
  readonly MediaDevices: { readonly prototype: object };
  readonly MediaStream: new (tracks?: MediaStreamTrack[]) => MediaStream;
  readonly InputDeviceInfo?: { readonly prototype: object };
  readonly MediaDeviceInfo?: { readonly prototype: object };
  readonly Permissions?: { readonly prototype: object };
  readonly HTMLMediaElement?: { readonly prototype: object };
  readonly AudioContext?: { readonly prototype: object };
  readonly navigator?: { readonly mediaDevices?: MediaDevices };
}

/** A page asks before it opens its microphone; Chrome's answer may take longer than all else of that. */
const PATIENCE_MS = 30;

function wants(constraint: unknown): boolean {
  return constraint !== undefined && constraint !== null && constraint !== false;
}

function deviceInfo(prototype: object | undefined, fields: Record<string, string>): object {
  const own: PropertyDescriptorMap = {
    toJSON: { value: () => ({ ...fields }), enumerable: false },
  };
  for (const [name, value] of Object.entries(fields)) own[name] = { value, enumerable: true };
  return Object.create(prototype ?? Object.prototype, own) as object;
}

/** Gives what makes Chrome look for devices ahead of the page: the first time takes a quarter of a second. */
export function installMediaDevices(window: DevicesWindow, source: TrackSource, log: Log): () => void {
  const devices = window.MediaDevices.prototype;
  let hasSpeaker = false;
  let known: MediaDeviceInfo[] | null = null;

  patchMethod(devices, 'getUserMedia', log, (_self, args, native) => {
    const constraints = args[0] as MediaStreamConstraints | null | undefined;
    if (typeof constraints !== 'object' || constraints === null || !wants(constraints.audio)) return NATIVE;
    if (!wants(constraints.video)) return Promise.resolve(new window.MediaStream([source.fresh()]));
    // The camera is the browser's business: no camera, no stream, as without us.
    const video = native([{ ...constraints, audio: false }]) as Promise<MediaStream>;
    return video.then((stream) => {
      stream.addTrack(source.fresh());
      return stream;
    });
  });

  patchMethod(devices, 'enumerateDevices', log, (_self, _args, native) => {
    const asked = (native() as Promise<MediaDeviceInfo[]>).then((found) => (known = found));
    const last = known;
    const late = new Promise<MediaDeviceInfo[]>((resolve) => {
      if (last !== null) setTimeout(() => { resolve(last); }, PATIENCE_MS);
    });
    const microphone = deviceInfo((window.InputDeviceInfo ?? window.MediaDeviceInfo)?.prototype, {
      deviceId: DEVICE_ID,
      kind: 'audioinput',
      label: MICROPHONE_LABEL,
      groupId: GROUP_ID,
    });
    // A page may want to know that there is one; without hardware Chrome lists none, and plays into nowhere.
    const speaker = deviceInfo(window.MediaDeviceInfo?.prototype, {
      deviceId: DEVICE_ID,
      kind: 'audiooutput',
      label: SPEAKER_LABEL,
      groupId: GROUP_ID,
    });
    return Promise.race([asked, late]).then(
      (found) => {
        const others = found.filter((device) => device.kind !== 'audioinput');
        hasSpeaker = others.some((device) => device.kind === 'audiooutput');
        return [microphone, ...others, ...(hasSpeaker ? [] : [speaker])];
      },
      () => [microphone, speaker],
    );
  });

  for (const owner of [window.HTMLMediaElement, window.AudioContext]) {
    if (owner === undefined || !Object.hasOwn(owner.prototype, 'setSinkId')) continue;
    patchMethod(owner.prototype, 'setSinkId', log, (_self, args, native) =>
      args[0] === DEVICE_ID && !hasSpeaker ? native(['']) : NATIVE,
    );
  }

  if (window.Permissions !== undefined) {
    patchMethod(window.Permissions.prototype, 'query', log, (_self, args, native) => {
      const name = (args[0] as { name?: unknown } | undefined)?.name;
      if (name !== 'microphone') return NATIVE;
      const asked = native() as Promise<PermissionStatus>;
      return asked.then((status) =>
        status.state === 'granted' ? status : Object.defineProperty(status, 'state', { value: 'granted' }),
      );
    });
  }

  return () => {
    window.navigator?.mediaDevices?.enumerateDevices().catch(() => undefined);
  };
}
