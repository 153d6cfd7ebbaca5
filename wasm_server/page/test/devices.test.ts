import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { installMediaDevices } from '../src/hooks/media-devices.ts';
import { MicrophoneTracks } from '../src/hooks/tracks.ts';
import { type Track, browser, quiet } from './dom.ts';

function installed() {
  const window = browser();
  const live: number[] = [];
  const plain = new window.MediaStreamTrack();
  const tracks = new MicrophoneTracks(
    () => plain as unknown as MediaStreamTrack,
    (count) => {
      live.push(count);
    },
  );
  tracks.install(window, quiet);
  const devices = new window.MediaDevices();
  const warm = installMediaDevices(Object.assign(window, { navigator: { mediaDevices: devices } }) as never, tracks, quiet);
  return { window, tracks, live, plain, devices, warm };
}

function only(stream: { getTracks(): Track[] }): Track {
  const [track, ...rest] = stream.getTracks();
  assert.ok(track !== undefined && rest.length === 0);
  return track;
}

describe('the list of devices', () => {
  it('is the last one where the browser takes its time, and is looked up ahead', async () => {
    const { devices, warm } = installed();
    devices.devices = [{ kind: 'videoinput', deviceId: 'camera' }];
    warm();
    await new Promise((resolve) => setTimeout(resolve, 0));
    devices.delay = new Promise(() => undefined);
    const kinds = (await devices.enumerateDevices()).map((device) => device.kind);
    assert.deepEqual(kinds, ['audioinput', 'videoinput', 'audiooutput']);
  });

  it('is waited for where none is known', async () => {
    const { devices } = installed();
    devices.devices = [{ kind: 'videoinput', deviceId: 'camera' }];
    devices.delay = new Promise((resolve) => setTimeout(resolve, 60));
    const kinds = (await devices.enumerateDevices()).map((device) => device.kind);
    assert.deepEqual(kinds, ['audioinput', 'videoinput', 'audiooutput']);
  });
});

describe('getUserMedia', () => {
  it('gives each request a live track of its own, which ends alone', async () => {
    const { devices, live, plain } = installed();
    const first = only(await devices.getUserMedia({ audio: true }));
    const second = only(await devices.getUserMedia({ audio: { deviceId: { exact: 'gone' } } }));
    first.stop();
    first.stop();
    assert.deepEqual([first.readyState, second.readyState, plain.readyState], ['ended', 'live', 'live']);
    assert.deepEqual(devices.asked, []);
    assert.deepEqual(live, [1, 2, 1]);
  });

  it('leaves video, and nonsense, to the browser', async () => {
    const { devices } = installed();
    await assert.rejects(devices.getUserMedia({ video: true }), { name: 'NotFoundError' });
    await assert.rejects(devices.getUserMedia(undefined));
    await assert.rejects(devices.getUserMedia({ audio: false, video: {} }));
    assert.equal(devices.asked.length, 3);
  });

  it('fails as the browser does when a camera is wanted as well and there is none', async () => {
    const { devices, live } = installed();
    await assert.rejects(devices.getUserMedia({ audio: true, video: true }), { name: 'NotFoundError' });
    assert.deepEqual(live, []);
  });

  it('adds the microphone to the camera', async () => {
    const { devices } = installed();
    devices.camera = true;
    const stream = await devices.getUserMedia({ audio: true, video: true });
    assert.deepEqual(stream.getTracks().map((track) => track.kind), ['video', 'audio']);
    assert.deepEqual(devices.asked, [{ audio: false, video: true }]);
  });
});

describe('the device list', () => {
  it('has one microphone, ours, and the other devices', async () => {
    const { window, devices } = installed();
    devices.devices = [
      { kind: 'audioinput', deviceId: 'real' },
      { kind: 'audiooutput', deviceId: 'real' },
    ];
    const listed = await devices.enumerateDevices();
    assert.deepEqual(listed.map((device) => `${device.kind} ${device.deviceId}`), [
      'audioinput default',
      'audiooutput real',
    ]);
    assert.ok(listed[0] instanceof window.InputDeviceInfo);
    assert.match(JSON.stringify(listed[0]), /"label":"Ponte microphone"/);
  });
});

describe('permissions', () => {
  it('grants the microphone and nothing else', async () => {
    const { window } = installed();
    const permissions = new window.Permissions();
    assert.equal((await permissions.query({ name: 'microphone' })).state, 'granted');
    assert.equal((await permissions.query({ name: 'camera' })).state, 'prompt');
  });
});

describe('a handed track', () => {
  it('tells of mute and stop', async () => {
    const { devices, tracks } = installed();
    const track = only(await devices.getUserMedia({ audio: true }));
    const handed = tracks.find(track as unknown as MediaStreamTrack);
    assert.ok(handed !== undefined);
    const seen: boolean[] = [];
    handed.onChange(() => seen.push(handed.audible));
    track.enabled = false;
    track.enabled = true;
    track.stop();
    assert.deepEqual(seen, [false, true, false]);
    assert.equal(handed.stopped, true);
  });

  it('is still ours after it was cloned, alone or in its stream', async () => {
    const { devices, tracks, live } = installed();
    const stream = await devices.getUserMedia({ audio: true });
    const copy = only(stream).clone();
    assert.ok(tracks.find(copy as unknown as MediaStreamTrack) !== undefined);
    assert.ok(tracks.inStream(stream.clone() as unknown as MediaStream) !== undefined);
    assert.deepEqual(live, [1, 2, 3]);
  });

  it('describes itself as a microphone', async () => {
    const { devices } = installed();
    const track = only(await devices.getUserMedia({ audio: true }));
    assert.equal(track.label, 'Ponte microphone');
    assert.deepEqual(track.getSettings(), { deviceId: 'default', sampleRate: 48000, channelCount: 1 });
  });

  it('leaves tracks of others as they are', () => {
    const { window, tracks, live } = installed();
    const other = new window.MediaStreamTrack();
    other.enabled = false;
    other.clone();
    other.stop();
    assert.equal(tracks.find(other as unknown as MediaStreamTrack), undefined);
    assert.deepEqual(live, []);
  });
});
