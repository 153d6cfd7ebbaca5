/** Each thing that is needed from the page: its name, what it is for, and whether it is there. */

import type { Bindings, VoipStack } from './bindings.ts';

/** What a thing is for. `names` and `pairing` do not keep calls from working. */
export type Use = 'all' | 'incoming' | 'outgoing' | 'pairing' | 'names';

export interface Check {
  /** As wa-js or the browser calls it, with the module of WhatsApp Web that has it today. */
  readonly name: string;
  readonly found: boolean;
  readonly use: Use;
}

/** What of the browser and of our own hooks is needed. */
export interface Environment {
  readonly isolated: boolean;
  readonly sharedMemory: boolean;
  readonly peerConnection: boolean;
  readonly audioWorklet: boolean;
  /** The page's getUserMedia is ours. */
  readonly microphone: boolean;
  /** WebRTC has addresses to send from; undefined while nobody knows. */
  readonly udp: boolean | undefined;
}

const STACK_METHODS = ['acceptCall', 'rejectCall', 'endCall'] as const;
/** WhatsApp starts its call stack at the first question for it. */
const STACK_TIMEOUT_MS = 8000;
const STACK_AGAIN_MS = 10_000;

/** What the call stack said of itself; asked for once, since the question starts it. */
export class StackProbe {
  private asked: number | null = null;
  private found: VoipStack | null | undefined;

  constructor(
    private readonly bindings: Bindings,
    private readonly now: () => number,
  ) {}

  /** undefined while nobody knows, null where there is none. */
  get stack(): VoipStack | null | undefined {
    return this.found;
  }

  /** Ask, if that was not done or did not work. */
  look(): void {
    const ask = this.bindings.attempt(() => this.bindings.functions?.getVoipStackInterface);
    if (typeof ask !== 'function' || (this.found ?? null) !== null) return;
    const now = this.now();
    if (this.asked !== null && now - this.asked < STACK_AGAIN_MS) return;
    this.asked = now;
    const late = new Promise<null>((resolve) => setTimeout(resolve, STACK_TIMEOUT_MS, null));
    Promise.race([Promise.resolve().then(ask), late]).then(
      (stack) => {
        this.found = stack ?? null;
      },
      () => {
        this.found = null;
      },
    );
  }
}

export function environmentChecks(environment: Environment): Check[] {
  return [
    { name: 'cross-origin isolation', found: environment.isolated, use: 'all' },
    { name: 'SharedArrayBuffer and Atomics', found: environment.sharedMemory, use: 'all' },
    { name: 'RTCPeerConnection', found: environment.peerConnection, use: 'all' },
    { name: 'AudioWorklet', found: environment.audioWorklet, use: 'all' },
    { name: 'getUserMedia (the microphone of Ponte)', found: environment.microphone, use: 'all' },
    { name: "WebRTC over UDP (Chrome's WebRTC IP policy, network)", found: environment.udp !== false, use: 'all' },
  ];
}

/** @param stack what is known of the call stack; undefined: not asked, or not answered yet */
export function pageChecks(bindings: Bindings, stack: VoipStack | null | undefined): Check[] {
  const { wpp } = bindings;
  const checks: Check[] = [];
  const check = (use: Use, name: string, look: () => unknown): void => {
    const value = bindings.attempt(look);
    checks.push({ name, found: value !== undefined && value !== null && value !== false, use });
  };
  check('all', 'module loader (__d, require)', () => bindings.hasLoader);
  check('all', 'wa-js', () => wpp);
  if (wpp === undefined || !bindings.hasLoader) return checks;
  check('all', 'Debug.VERSION', () => bindings.waVersion);
  if (wpp.loader?.isInjected !== true && !bindings.injected) return checks;

  const { whatsapp } = bindings;
  check('all', 'isLoggedIn (WAWebUserPrefsLogin)', () => bindings.functions?.isLoggedIn);
  check('all', 'Stream (WAWebStreamModel)', () => whatsapp?.Stream);
  check('incoming', 'CallCollection (WAWebCallCollection)', () => bindings.callStore);
  check('incoming', 'getVoipStackInterface (WAWebVoipStackInterface)', () => bindings.functions?.getVoipStackInterface);
  if (stack === null) check('incoming', 'the call stack behind getVoipStackInterface', () => null);
  if (stack !== null && stack !== undefined) {
    for (const name of STACK_METHODS) check('incoming', `${name} of the call stack`, () => typeof stack[name] === 'function');
    check('incoming', 'call stack of type web', () => stack.type === undefined || stack.type === 'web');
  }
  check('outgoing', 'startWAWebVoipCall (WAWebVoipStartCall)', () => bindings.functions?.startWAWebVoipCall);
  check('outgoing', 'queryWidExists (WAWebQueryExistsJob)', () => bindings.functions?.queryWidExists);
  check('outgoing', 'WidFactory (WAWebWidFactory)', () => whatsapp?.WidFactory);
  check('outgoing', 'ContactCollection (WAWebContactCollection)', () => whatsapp?.ContactStore);
  check('outgoing', 'ApiContact (WAWebApiContact)', () => whatsapp?.ApiContact);
  check('outgoing', 'lidPnCache (WAWebLidPnCache)', () => whatsapp?.lidPnCache);
  check('names', 'getMaybeMePnUser (WAWebUserPrefsMeUser)', () => whatsapp?.UserPrefs);
  check('names', 'isCallingEnabled (WAWebVoipGatingUtils)', () => bindings.functions?.isCallingEnabled);
  check('pairing', 'Conn (WAWebConnModel)', () => whatsapp?.Conn);
  check('pairing', 'Socket.logout (WAWebSocketModel)', () => typeof whatsapp?.Socket?.logout === 'function');
  check('pairing', 'waSignalStore', () => wpp.whatsapp?.multidevice?.waSignalStore);
  check('pairing', 'waNoiseInfo', () => wpp.whatsapp?.multidevice?.waNoiseInfo);
  check('pairing', 'getADVSecretKey', () => wpp.whatsapp?.multidevice?.adv);
  check('pairing', 'genLinkDeviceCodeForPhoneNumber', () => bindings.functions?.genLinkDeviceCodeForPhoneNumber);
  check('pairing', 'initializeAltDeviceLinking', () => bindings.functions?.initializeAltDeviceLinking);
  return checks;
}

/** What calls cannot do without. */
export function missingFrom(checks: readonly Check[]): string[] {
  return checks.filter(({ found, use }) => !found && !['pairing', 'names'].includes(use)).map(({ name }) => name);
}

export interface Can {
  readonly incoming: boolean;
  readonly outgoing: boolean;
}

/** Which calls can be had with what is there; a call that is placed needs what takes one as well. */
export function possible(checks: readonly Check[]): Can {
  const lacks = (...uses: Use[]): boolean => checks.some(({ found, use }) => !found && uses.includes(use));
  // Without the stream it cannot be told whether WhatsApp is connected, but calls are what they are.
  const core = checks.filter(({ name }) => !name.startsWith('Stream '));
  const broken = core.some(({ found, use }) => !found && use === 'all') || lacks('incoming');
  return { incoming: !broken, outgoing: !broken && !lacks('outgoing') };
}
