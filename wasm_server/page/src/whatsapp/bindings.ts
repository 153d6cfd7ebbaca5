/**
 * Everything of wa-js and of WhatsApp's own objects that is used, looked up when it is needed and not before: WhatsApp
 * loads its modules lazily and renames them without notice.
 */

import { PonteError, describe } from '../errors.ts';

/** The wa-js release these bindings were written against; it is the one that is bundled. */
export const WAJS_SUPPORTED = '4.6';

export interface Wid {
  readonly user?: string;
  readonly server?: string;
  readonly _serialized?: string;
  toString(options?: { legacy: boolean }): string;
  isLid?(): boolean;
}

export interface Emitter {
  on?(event: string, handler: (...args: unknown[]) => void): unknown;
}

export interface CallModel extends Emitter {
  readonly id: unknown;
  readonly peerJid?: Wid | string;
  readonly isVideo?: boolean;
  readonly isGroup?: boolean;
  readonly groupJid?: unknown;
  readonly outgoing?: boolean;
  readonly state?: unknown;
  readonly endReason?: unknown;
  readonly callEndReason?: unknown;
  readonly callInfo?: { readonly endReason?: unknown; readonly callEndReason?: unknown } | null;
  readonly callLogResult?: unknown;
  readonly callFailedReason?: unknown;
  /** Said when the peer's phone answers busy, and taken back when the call is over. */
  readonly peerBusy?: boolean;
  userEndedCall?: boolean;
  getState?(): unknown;
}

export interface CallStore extends Emitter {
  readonly activeCall?: CallModel | null;
  getModelsArray?(): CallModel[];
  readonly _models?: CallModel[];
}

export interface VoipStack {
  readonly type?: unknown;
  acceptCall?(audio: boolean, video: boolean): unknown;
  rejectCall?(): unknown;
  endCall?(reason: number, tellPeer: boolean): unknown;
}

interface Contact {
  readonly name?: unknown;
  readonly pushname?: unknown;
  readonly verifiedName?: unknown;
  readonly notifyName?: unknown;
  readonly displayName?: unknown;
}

interface Functions {
  readonly isLoggedIn?: () => boolean;
  readonly getVoipStackInterface?: () => Promise<VoipStack | null | undefined>;
  readonly startWAWebVoipCall?: (to: Wid, video: boolean, entryPoint: number, kind: number) => unknown;
  readonly isCallingEnabled?: () => unknown;
  readonly getABPropConfigValue?: (name: string) => unknown;
  readonly queryWidExists?: (wid: Wid) => Promise<unknown>;
  readonly getUnsupportedBrowserReason?: () => unknown;
  readonly genLinkDeviceCodeForPhoneNumber?: unknown;
  readonly initializeAltDeviceLinking?: unknown;
}

interface LidCache {
  getPhoneNumber?(wid: Wid): Wid | null | undefined;
}

export interface Wpp {
  readonly version?: unknown;
  readonly loader?: { isInjected?: boolean; readonly isReady?: boolean; loaderType?: string; injectLoader?(): void };
  on?(event: string, handler: (...args: unknown[]) => void): unknown;
  readonly conn?: {
    isAuthenticated?(): boolean;
    getMyUserWid?(): Wid;
    isIdle?(): boolean;
    getAuthCode?(): Promise<{ readonly fullCode?: unknown } | null>;
    refreshQR?(): Promise<unknown>;
    genLinkDeviceCodeForPhoneNumber?(phone: string, push: boolean): Promise<string>;
    startLinkDeviceCodeForPhoneNumber?(phone: string): Promise<string>;
    logout?(): Promise<unknown>;
  };
  readonly call?: { enableCallInterface?(): Promise<unknown> };
  readonly contact?: {
    queryExists?(wid: string): Promise<{ readonly wid: Wid; readonly lid?: Wid } | null>;
    getPnLidEntry?(wid: string): Promise<{ readonly phoneNumber?: { readonly id: string } } | null>;
  };
  readonly whatsapp?: {
    readonly CallStore?: CallStore;
    readonly ContactStore?: { get?(id: Wid | string): Contact | undefined };
    readonly WidFactory?: { createWid?(jid: string): Wid };
    readonly lidPnCache?: LidCache;
    readonly ApiContact?: LidCache;
    readonly functions?: Functions;
    /** WhatsApp's own table of states, by the name that wa-js gives it. */
    readonly enums?: { readonly CALL_STATES?: unknown };
    readonly Stream?: { readonly mode?: unknown; readonly info?: unknown; readonly needsUpdate?: unknown };
    readonly Conn?: { readonly ref?: unknown };
    readonly LinkDeviceEvents?: unknown;
    readonly Socket?: { logout?(): unknown; takeover?(): unknown };
    readonly multidevice?: { readonly waSignalStore?: unknown; readonly waNoiseInfo?: unknown; readonly adv?: unknown };
    readonly UserPrefs?: { getMaybeMePnUser?(): Wid | undefined };
  };
}

interface PageScope {
  readonly WPP?: Wpp;
  readonly Debug?: { readonly VERSION?: unknown };
  readonly __d?: unknown;
  readonly require?: unknown;
}

/** wa-js waits up to 5 s for one module between the two; what takes longer than this does not go on. */
const STUCK_MS = 7000;

export class Bindings {
  private halfwaySince: number | null = null;

  constructor(private readonly scope: PageScope) {}

  get wpp(): Wpp | undefined {
    return this.scope.WPP;
  }

  /** The page has Meta's module loader, without which wa-js can find nothing. */
  get hasLoader(): boolean {
    return this.scope.__d !== undefined && this.scope.require !== undefined;
  }

  get waVersion(): string | null {
    const version = this.attempt(() => this.scope.Debug?.VERSION);
    return typeof version === 'string' ? version : null;
  }

  get wajsVersion(): string | null {
    const version = this.wpp?.version;
    return typeof version === 'string' ? version : null;
  }

  /** wa-js knows the page's modules. */
  get injected(): boolean {
    return this.wpp?.loader?.isReady === true;
  }

  /**
   * wa-js is evaluated before the page's own code and waits for its loader to appear: by setters, which a function
   * declaration undoes, and by looking for one minute. A page that takes longer is shown to it again.
   */
  wakeLoader(): void {
    const loader = this.wpp?.loader;
    if (this.hasLoader && loader?.loaderType === 'unknown') this.attempt(() => loader.injectLoader?.());
  }

  /**
   * wa-js takes the modules for complete once none has come for 0.75 s. On a slow machine or network that may be too
   * early: then it throws in the middle of its start, and stays there for good. It is made to start once more.
   *
   * @param now ms of any steady clock
   * @returns whether it was
   */
  restartLoader(now: number): boolean {
    const loader = this.wpp?.loader;
    const halfway = loader?.isInjected === true && loader.isReady !== true && this.authenticated !== undefined;
    if (loader === undefined || !halfway || this.waVersion === null) {
      this.halfwaySince = null;
      return false;
    }
    this.halfwaySince ??= now;
    if (now - this.halfwaySince < STUCK_MS) return false;
    this.halfwaySince = null;
    this.attempt(() => {
      loader.isInjected = false;
      loader.loaderType = 'unknown';
      loader.injectLoader?.();
    });
    return true;
  }

  /** undefined while nobody can say. */
  get authenticated(): boolean | undefined {
    return this.attempt(() => this.wpp?.conn?.isAuthenticated?.());
  }

  /** WhatsApp's stream to its server: MAIN when it serves, and NORMAL, OFFLINE and others beside. */
  get stream(): { mode: string | null; info: string | null } {
    const stream = this.attempt(() => this.whatsapp?.Stream);
    const text = (value: unknown): string | null => (typeof value === 'string' ? value : null);
    return { mode: text(stream?.mode), info: text(stream?.info) };
  }

  /** WhatsApp has a newer build for this page. */
  get needsUpdate(): boolean {
    return this.attempt(() => this.whatsapp?.Stream?.needsUpdate) === true;
  }

  /** Why WhatsApp thinks that this browser cannot call; null where it does not think so. */
  get unsupported(): string | null {
    const reason = this.attempt(() => this.functions?.getUnsupportedBrowserReason?.());
    return typeof reason === 'string' && reason !== '' ? reason : null;
  }

  /** The account's own jids; empty while nobody is logged in. */
  get ownWids(): Wid[] {
    const found = [
      this.attempt(() => this.whatsapp?.UserPrefs?.getMaybeMePnUser?.()),
      this.attempt(() => this.wpp?.conn?.getMyUserWid?.()),
    ];
    return found.filter((wid) => wid !== undefined);
  }

  get callStore(): CallStore | undefined {
    return this.attempt(() => this.wpp?.whatsapp?.CallStore);
  }

  get functions(): Functions | undefined {
    return this.wpp?.whatsapp?.functions;
  }

  /** undefined while the page cannot make one. */
  wid(jid: string): Wid | undefined {
    return this.attempt(() => this.whatsapp?.WidFactory?.createWid?.(jid));
  }

  has(name: keyof Functions): boolean {
    return typeof this.attempt(() => this.functions?.[name]) === 'function';
  }

  get whatsapp(): Wpp['whatsapp'] {
    return this.wpp?.whatsapp;
  }

  async stack(): Promise<VoipStack> {
    const stack = await this.need('getVoipStackInterface')();
    if (stack === null || stack === undefined) throw missing('the VoIP stack');
    if (stack.type !== undefined && stack.type !== 'web') {
      throw new PonteError('calling_disabled', `WhatsApp's call stack is of type ${JSON.stringify(stack.type)}, not web`);
    }
    return stack;
  }

  need<Name extends keyof Functions>(name: Name): NonNullable<Functions[Name]> {
    const found = this.attempt(() => this.functions?.[name]);
    if (typeof found !== 'function') throw missing(name);
    return found;
  }

  /** Pretend that WhatsApp let this account call. Only where the account's owner asked for it. */
  async forceGates(): Promise<null> {
    if (this.wpp?.call?.enableCallInterface === undefined) throw missing('call.enableCallInterface');
    await this.wpp.call.enableCallInterface();
    return null;
  }

  /** wa-js's getters search WhatsApp's modules and may throw while these load. */
  attempt<Value>(look: () => Value): Value | undefined {
    try {
      return look();
    } catch {
      return undefined;
    }
  }
}

export function missing(what: string): PonteError {
  return new PonteError('binding_missing', `${what} was not found in this version of WhatsApp Web`);
}

/** An error of wa-js carries its own code; keep it in the sentence. */
export function wajsFault(fault: unknown): PonteError {
  if (fault instanceof PonteError) return fault;
  const code = (fault as { code?: unknown } | null | undefined)?.code;
  return new PonteError('call_failed', typeof code === 'string' ? `${code} (${describe(fault)})` : describe(fault));
}
