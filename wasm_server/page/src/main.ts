/** Entry of page.js: reads the configuration, installs the hooks, offers the commands. */

import { commands, type Commands } from './api.ts';
import { parseConfig, type PonteConfig } from './config.ts';
import { Engine } from './engine/engine.ts';
import { Worklets } from './engine/worklets.ts';
import { emitter, logger, type Log } from './events.ts';
import { AudioGraph } from './hooks/audio-graph.ts';
import { installAudioSource } from './hooks/audio-source.ts';
import { installMediaDevices } from './hooks/media-devices.ts';
import { MediaElements } from './hooks/media-elements.ts';
import { ScriptUrl } from './hooks/script-url.ts';
import { MicrophoneTracks } from './hooks/tracks.ts';
import { Bindings } from './whatsapp/bindings.ts';
import { Calls } from './whatsapp/calls.ts';
import { People } from './whatsapp/people.ts';
import { probe } from './whatsapp/probe.ts';
import { Session } from './whatsapp/session.ts';

type PageScope = typeof globalThis & {
  __ponteConfig?: unknown;
  __ponte?: Readonly<Commands>;
  WPPConfig?: Record<string, unknown>;
};

/** For so long wa-js looks for the page's loader by itself. */
const WAJS_LOOKS_MS = 61_000;

/** A ring tone may begin just before WhatsApp shows the call. */
const RING_LEAD_MS = 3000;

function install(scope: PageScope, config: PonteConfig): void {
  const now = (): number => performance.now();
  const installedAt = now();
  const emit = emitter(scope, config.binding);
  const log: Log = logger(emit, now);
  const driver = config.driver;
  if (driver !== 'whatsapp') log('warning', `driver ${driver} is not known to this bundle`);

  // What the browser gives, before anybody replaces it.
  const Connection = scope.RTCPeerConnection;
  const WorkletNode = scope.AudioWorkletNode;
  const nativeSource = Reflect.get(scope.AudioContext.prototype, 'createMediaStreamSource');
  const Context = scope.AudioContext;
  const { Worker, RTCRtpScriptTransform } = scope as Partial<typeof scope>;

  const graph = new AudioGraph((cut) => {
    engine.speaker.graphChanged(cut);
  });
  const native = graph.install(scope, log);
  const elements = new MediaElements(scope, now);
  elements.install(log);
  const scriptUrl = new ScriptUrl(config.workletUrl);
  scriptUrl.install(scope as unknown as Parameters<ScriptUrl['install']>[0], log);
  const worklets = new Worklets(WorkletNode, config.workletUrl, config.wasm);
  const tracks = new MicrophoneTracks(
    () => engine.microphone.plainTrack(),
    (count) => {
      engine.microphone.setLive(count);
    },
  );
  const engine = new Engine({
    microphone: {
      AudioContext: Context,
      MediaStream: scope.MediaStream,
      source: (context, stream) => nativeSource.call(context, stream),
      graph: native,
      worklets,
      log,
    },
    speaker: { graph, native, worklets, log },
    tap: {
      Worker,
      Transform: RTCRtpScriptTransform,
      scriptUrl: () => scriptUrl.get(),
      isolated: scope.crossOriginIsolated,
      log,
    },
    Connection,
    Audio: scope.Audio,
    elements,
    emit,
    log,
    now,
    sleeps: driver === 'whatsapp',
  });
  tracks.install(scope, log);
  installMediaDevices(scope, tracks, log);
  installAudioSource(
    scope,
    (stream) => tracks.inStream(stream),
    (context, _stream, track) => engine.microphone.makeSource(context, track),
    log,
  );

  // Read by wa-js when it is evaluated; without it wa-js sends beacons to an analytics service.
  scope.WPPConfig = { ...scope.WPPConfig, disableGoogleAnalytics: true };

  let ringSince = now();
  const stopLoops = (): void => {
    const stopped = elements.stopLoops(ringSince - RING_LEAD_MS);
    if (stopped > 0) log('info', `paused ${stopped} looping sounds that WhatsApp left playing`);
  };
  const bindings = new Bindings(scope as unknown as ConstructorParameters<typeof Bindings>[0]);
  const calls = new Calls({
    bindings,
    people: new People(bindings),
    emit,
    log,
    onBegin: () => {
      ringSince = now();
      engine.microphone.setWarm(true);
    },
    onIdle: () => {
      engine.microphone.setWarm(false);
      stopLoops();
    },
  });
  const look = (): ReturnType<typeof probe> => {
    const ageMs = now() - installedAt;
    if (ageMs > WAJS_LOOKS_MS) bindings.wakeLoader();
    return probe(bindings, scope.crossOriginIsolated, ageMs);
  };
  Object.defineProperty(scope, '__ponte', {
    value: commands(engine, calls, look, stopLoops),
    configurable: false,
    enumerable: false,
    writable: false,
  });
  // After wa-js, which is evaluated behind us in the same script.
  queueMicrotask(() => {
    new Session(look, emit, log).start();
    calls.start();
  });
}

function run(scope: PageScope): void {
  const given = scope.__ponteConfig;
  Reflect.deleteProperty(scope, '__ponteConfig');
  // A second run in a document would hook the hooks. A frame has its own window and no business with calls.
  if (scope.__ponte !== undefined || scope.top !== scope.self) return;
  install(scope, parseConfig(given));
}

run(globalThis);
