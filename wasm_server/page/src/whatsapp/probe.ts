/** What of the page was found and what is missing, and the page's state that follows from it. */

import { ABI } from '../config.ts';
import type { PageState } from '../events.ts';
import { type Bindings, WAJS_SUPPORTED } from './bindings.ts';
import { callingEnabled } from './calls.ts';
import {
  type Can,
  type Check,
  type Environment,
  type StackProbe,
  environmentChecks,
  missingFrom,
  pageChecks,
  possible,
} from './needs.ts';
import { jidOf, phoneOfJid } from './people.ts';

export interface Judgement {
  readonly state: PageState;
  readonly detail: string;
  /** Which calls can be had now. */
  readonly can: Can;
}

export interface Probe extends Judgement {
  readonly abi: number;
  readonly loggedIn: boolean;
  /** Digits of the account's own number. */
  readonly ownNumber: string | null;
  readonly callingEnabled: boolean;
  readonly crossOriginIsolated: boolean;
  readonly waVersion: string | null;
  readonly wajsVersion: string | null;
  readonly needsUpdate: boolean;
  /** Names of what calls need and the page has not. */
  readonly missing: string[];
  readonly checks: Check[];
}

/** What the page and the clock say; kept apart from how it is found out. */
export interface Findings {
  readonly hasLoader: boolean;
  readonly wajs: boolean;
  readonly injected: boolean;
  readonly authenticated: boolean | undefined;
  readonly calling: boolean | undefined;
  /** WhatsApp's own word for why this browser cannot call. */
  readonly unsupported: string | null;
  /** WhatsApp's stream to its server, null where it cannot be read. */
  readonly streamMode: string | null;
  readonly streamInfo: string | null;
  readonly isolated: boolean;
  /** Chrome gives WebRTC addresses to send UDP from; undefined while nobody knows. */
  readonly udp: boolean | undefined;
  readonly missing: readonly string[];
  readonly can: Can;
  /** The call stack was asked for and has not answered. */
  readonly stackPending: boolean;
  readonly waVersion: string | null;
  /** Since this bundle was installed. */
  readonly ageMs: number;
  /** Since wa-js could read the page and say whether somebody is logged in. */
  readonly readableMs: number;
}

/** Stream modes that a person has to look at: terms to accept, a blocked network, a version that is too old. */
const BLOCKED: ReadonlySet<string> = new Set(['PROXYBLOCK', 'TOS_BLOCK', 'SMB_TOS_BLOCK', 'DEPRECATED_VERSION']);

/** wa-js is evaluated right behind this bundle. */
const START_MS = 5000;
/** Modules come in over seconds, some 20 MB in all; only what is absent after this is missing. */
const SETTLE_MS = 30_000;
/** The same, from when wa-js could read the page: the largest part is there by then. */
const SETTLE_READABLE_MS = 10_000;

const NONE: Can = { incoming: false, outgoing: false };
/** Nothing of CDP changes the policy, so a person has to. */
const NO_UDP =
  'Chrome gives WebRTC no UDP, so no call would have sound: start it with --webrtc-ip-handling-policy=default, take ' +
  'the policy WebRtcIPHandling from its machine, and see whether that has a network';
const TO_DO = 'update Ponte, or see docs/whatsapp.md';

export function judge(findings: Findings): Judgement {
  const late = findings.ageMs >= SETTLE_MS;
  const settled = late || findings.readableMs >= SETTLE_READABLE_MS;
  const loading = (detail: string): Judgement => ({ state: 'LOADING', detail, can: NONE });
  const degraded = (detail: string, can = NONE): Judgement => ({ state: 'DEGRADED', detail, can });
  if (!findings.wajs) {
    return findings.ageMs >= START_MS
      ? degraded('wa-js did not start in the page, so nothing works; load the page anew, and see the log')
      : loading('wa-js starts');
  }
  if (!findings.hasLoader) {
    return late
      ? degraded(`the page has no module loader: it is not WhatsApp Web, or a new kind of it; ${TO_DO}`)
      : loading('WhatsApp Web is loading');
  }
  if (!findings.injected || findings.authenticated === undefined) {
    return late
      ? degraded(`wa-js cannot read ${build(findings)}, so nothing works${named(findings)}; ${TO_DO}`)
      : loading('wa-js reads the modules');
  }
  if (!findings.authenticated) {
    const besides = settled && findings.missing.length > 0 ? `; after that, calls will not all work${named(findings)}` : '';
    return { state: 'LOGIN_REQUIRED', detail: `no phone is linked: scan the QR code${besides}`, can: NONE };
  }
  if (findings.streamMode === 'CONFLICT') {
    return degraded('WhatsApp Web is open in another place: use it here (POST /session/takeover) to take calls');
  }
  if (findings.streamMode !== null && BLOCKED.has(findings.streamMode)) {
    return degraded(`WhatsApp Web does not go on: ${findings.streamMode}; look at the page`);
  }
  if (findings.streamInfo === 'OFFLINE' || findings.streamMode === 'OFFLINE') {
    return degraded('WhatsApp Web has lost its connection to WhatsApp; it comes back by itself when the network does');
  }
  if (findings.streamMode === 'SYNCING' || findings.streamInfo === 'SYNCING') {
    return loading('WhatsApp Web synchronises');
  }
  if (!findings.isolated) {
    return degraded('the page is not cross-origin isolated, so WhatsApp cannot call; take --disable-web-security from Chrome');
  }
  if (findings.udp === false) return degraded(NO_UDP);
  if (findings.calling === false) {
    return findings.unsupported === null
      ? degraded('WhatsApp has not enabled calls on the web for this account; it does so account by account')
      : degraded(`WhatsApp says that this browser cannot call: ${findings.unsupported}; use a newer Chrome`);
  }
  if (findings.missing.length > 0) {
    if (!settled) return loading(`waiting for ${findings.missing.join(', ')}`);
    return degraded(`${still(findings.can)}${named(findings)}; ${TO_DO}`, findings.can);
  }
  if (findings.stackPending) return loading("WhatsApp's call stack starts");
  return { state: 'READY', detail: '', can: findings.can };
}

function build({ waVersion }: Findings): string {
  return waVersion === null ? 'this version of WhatsApp Web' : `WhatsApp Web ${waVersion}`;
}

function named(findings: Findings): string {
  if (findings.missing.length === 0) return '';
  return `: not found in ${build(findings)}: ${findings.missing.join(', ')}`;
}

function still(can: Can): string {
  if (can.outgoing) return 'calls work both ways';
  return can.incoming ? 'calls from WhatsApp work, calls to WhatsApp do not' : 'no calls can be made or taken';
}

/** Looks at one document; remembers since when it could be read. */
export class Prober {
  private readableSince: number | null = null;

  constructor(
    private readonly bindings: Bindings,
    private readonly stack: StackProbe,
    private readonly environment: () => Environment,
    private readonly now: () => number,
    private readonly installedAt: number,
  ) {}

  look(): Probe {
    const { bindings } = this;
    const now = this.now();
    const environment = this.environment();
    const { authenticated, injected } = bindings;
    if (injected && authenticated !== undefined) this.readableSince ??= now;
    const calling = callingEnabled(bindings);
    const asks = authenticated === true && calling !== false && injected;
    if (asks) this.stack.look();
    const { stack } = this.stack;
    const checks = [...environmentChecks(environment), ...pageChecks(bindings, asks ? stack : undefined)];
    const version = bindings.wajsVersion;
    if (version !== null && !version.startsWith(`${WAJS_SUPPORTED}.`)) {
      checks.push({ name: `wa-js ${WAJS_SUPPORTED}`, found: false, use: 'all' });
    }
    const { mode, info } = bindings.stream;
    const missing = missingFrom(checks);
    const judgement = judge({
      hasLoader: bindings.hasLoader,
      wajs: bindings.wpp !== undefined,
      injected,
      authenticated,
      calling,
      unsupported: bindings.unsupported,
      streamMode: mode,
      streamInfo: info,
      isolated: environment.isolated,
      udp: environment.udp,
      missing,
      can: possible(checks),
      stackPending: asks && stack === undefined,
      waVersion: bindings.waVersion,
      ageMs: now - this.installedAt,
      readableMs: this.readableSince === null ? 0 : now - this.readableSince,
    });
    return {
      abi: ABI,
      ...judgement,
      loggedIn: authenticated === true,
      ownNumber: bindings.ownWids.map((wid) => phoneOfJid(jidOf(wid))).find((phone) => phone !== null) ?? null,
      callingEnabled: calling !== false && environment.isolated,
      crossOriginIsolated: environment.isolated,
      waVersion: bindings.waVersion,
      wajsVersion: version,
      needsUpdate: bindings.needsUpdate,
      missing,
      checks,
    };
  }
}
