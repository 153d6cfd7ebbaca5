/** Entry of page.js: reads the configuration, installs the hooks, offers the commands. */

import { commands, type Commands } from './api.ts';
import { parseConfig, type PonteConfig } from './config.ts';
import { Engine } from './engine/engine.ts';
import { playbackOf } from './engine/speaker.ts';
import { Worklets } from './engine/worklets.ts';
import { emitter, logger, type Log } from './events.ts';
import { AudioGraph, type NativeGraph } from './hooks/audio-graph.ts';
import { installAudioPace } from './hooks/audio-pace.ts';
import { installAudioSource } from './hooks/audio-source.ts';
import { adopt } from './hooks/adoption.ts';
import { installMediaDevices } from './hooks/media-devices.ts';
import { MediaElements } from './hooks/media-elements.ts';
import { installPopouts } from './hooks/popouts.ts';
import { ScriptUrl } from './hooks/script-url.ts';
import { MicrophoneTracks } from './hooks/tracks.ts';
import { SCRIPTED } from './web/line.ts';
import { Outputs } from './web/outputs.ts';
import { Bindings } from './whatsapp/bindings.ts';
import { Calls } from './whatsapp/calls.ts';
import { NetworkProbe } from './whatsapp/network.ts';
import { Pairing } from './whatsapp/pairing.ts';
import { Orphans } from './whatsapp/orphans.ts';
import { People } from './whatsapp/people.ts';
import { type Environment, StackProbe } from './whatsapp/needs.ts';
import { type Probe, Prober } from './whatsapp/probe.ts';
import { Session } from './whatsapp/session.ts';

type PageScope = typeof globalThis & {
  __ponteConfig?: unknown;
  __ponte?: Readonly<Commands>;
  WPPConfig?: Record<string, unknown>;
};

/** For so long wa-js looks for the page's loader by itself. */
const WAJS_LOOKS_MS = 61_000;

/** Between looks at what a page of which nothing is known lets be heard. */
const LOOK_MS = 250;

/** A ring tone may begin just before WhatsApp shows the call. */
const RING_LEAD_MS = 3000;

function install(scope: PageScope, config: PonteConfig): void {
  const now = (): number => performance.now();
  const installedAt = now();
  const emit = emitter(scope, config.binding);
  const log: Log = logger(emit, now);
  const driver = config.driver;
  const scripted = driver === 'script';
  if (driver !== 'whatsapp' && !scripted) log('warning', `driver ${driver} is not known to this bundle`);

  // What the browser gives, before anybody replaces it.
  const Connection = scope.RTCPeerConnection;
  const WorkletNode = scope.AudioWorkletNode;
  const nativeSource = Reflect.get(scope.AudioContext.prototype, 'createMediaStreamSource');
  const Context = scope.AudioContext;
  const { Worker, RTCRtpScriptTransform } = scope as Partial<typeof scope>;

  const graph = new AudioGraph((cut) => {
    if (cut !== null) outputs?.cut(cut);
    engine.speaker.graphChanged(cut);
  });
  const elements = new MediaElements(now);
  const scriptUrl = new ScriptUrl(config.workletUrl);
  scriptUrl.install(scope as unknown as Parameters<ScriptUrl['install']>[0], log);
  const worklets = new Worklets(WorkletNode, config.workletUrl, config.wasm);
  const tracks = new MicrophoneTracks(
    () => engine.microphone.plainTrack(),
    (count) => {
      engine.microphone.setLive(count);
    },
  );

  // The page's own window, and those that it opens: each has prototypes of its own.
  const hooked = new WeakSet();
  let warmDevices = (): void => undefined;
  const hook = (window: PageScope): NativeGraph => {
    const native = graph.install(window, log);
    hooked.add(window.AudioNode);
    elements.install(window, log);
    tracks.install(window, log);
    const lookForDevices = installMediaDevices(window, tracks, log);
    if (window === scope) warmDevices = lookForDevices;
    installAudioSource(
      window,
      (stream) => tracks.inStream(stream),
      (context, _stream, track) => {
        const node = engine.microphone.makeSource(context, track);
        if (node !== null) graph.isMicrophone(node);
        return node;
      },
      log,
    );
    installAudioPace(window, log);
    installPopouts(window, hookPopout, log);
    return native;
  };
  const hookPopout = (popout: object): void => {
    const window = popout as PageScope;
    // A window that is not a secure context has no microphone to replace.
    if (!window.isSecureContext || hooked.has(window.AudioNode)) return;
    hook(window);
    log('info', 'the page opened another window, which is hooked too');
  };
  const native = hook(scope);
  const source = (context: AudioContext, stream: MediaStream): AudioNode => nativeSource.call(context, stream);
  const outputs = scripted ? new Outputs({ graph, elements, native, AudioContext: Context, source }) : null;
  // The last thing that a call may be heard from: an element that plays what a peer connection received.
  const streamed = new Outputs({
    graph: { players: () => new Map() },
    elements: {
      playing: () =>
        elements.playing().filter(({ srcObject }) => {
          if (srcObject === null || !('getAudioTracks' in srcObject)) return false;
          return srcObject.getAudioTracks().length > 0 && tracks.inStream(srcObject) === undefined;
        }),
    },
    native,
    AudioContext: Context,
    source,
  });
  const playback = (patient: boolean): AudioNode[] => {
    const found = playbackOf(graph.sources(), patient).map(({ node }) => node);
    return found.length > 0 || !patient ? found : streamed.nodes();
  };
  const engine: Engine = new Engine({
    microphone: {
      AudioContext: Context,
      MediaStream: scope.MediaStream,
      source,
      graph: native,
      worklets,
      log,
    },
    speaker: {
      sources: (patient) => outputs?.nodes() ?? playback(patient),
      native,
      worklets,
      log,
    },
    tap: {
      Worker,
      Transform: RTCRtpScriptTransform,
      scriptUrl: () => scriptUrl.get(),
      isolated: scope.crossOriginIsolated,
      log,
    },
    Connection,
    warmDevices: () => {
      warmDevices();
    },
    Audio: scope.Audio,
    elements,
    emit,
    log,
    now,
    sleeps: driver === 'whatsapp',
  });
  const more = {
    adopt: (name: unknown, found: unknown) => adopt(name, found, { graph, elements, tracks, log }),
    hook: (popout: unknown) => {
      hookPopout(popout as object);
    },
  };
  const offer = (value: Readonly<Commands>): void => {
    Object.defineProperty(scope, '__ponte', { value, configurable: false, enumerable: false, writable: false });
  };
  elements.watchStreams(scope);
  if (scripted) {
    offer(commands(engine, SCRIPTED, () => ({ abi: config.abi, state: 'READY' }), () => undefined, more));
    // Nothing tells of every way in which a media element begins and ends to be heard.
    setInterval(() => {
      engine.speaker.graphChanged(null);
    }, LOOK_MS);
    return;
  }
  // By the prototype: `navigator.mediaDevices` is made at the first look at it, and whether the page looked is asked later.
  const askForMicrophone = (): unknown => Reflect.get(scope.MediaDevices.prototype, 'getUserMedia');
  const ourMicrophone = askForMicrophone();

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
      warmDevices();
    },
    onIdle: () => {
      engine.microphone.setWarm(false);
      stopLoops();
    },
  });
  const network = new NetworkProbe(Connection, now);
  const environment = (): Environment => ({
    isolated: scope.crossOriginIsolated,
    sharedMemory: typeof SharedArrayBuffer !== 'undefined' && typeof Atomics !== 'undefined',
    peerConnection: typeof Connection === 'function',
    audioWorklet: typeof WorkletNode === 'function',
    microphone: askForMicrophone() === ourMicrophone,
    udp: network.udp,
  });
  const prober = new Prober(bindings, new StackProbe(bindings, now), environment, now, installedAt);
  const look = (): Probe => {
    if (now() - installedAt > WAJS_LOOKS_MS) bindings.wakeLoader();
    if (bindings.restartLoader(now())) log('warning', 'wa-js did not get through its start, and is started once more');
    if (bindings.injected) network.look();
    return prober.look();
  };
  const pairing = new Pairing(bindings, emit, log);
  offer(
    commands(engine, calls, look, stopLoops, {
      ...more,
      qr: () => pairing.qr(),
      linkCode: (phone) => pairing.linkCode(phone),
      logout: () => pairing.logout(),
      takeover: () => pairing.takeover(),
      forceGates: () => bindings.forceGates(),
      announce: () => calls.announce(),
    }),
  );
  // After wa-js, which is evaluated behind us in the same script.
  queueMicrotask(() => {
    new Session(look, emit, log).start();
    calls.start();
    pairing.start();
    new Orphans(scope, calls, config.leaseMs, now, log).start();
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
