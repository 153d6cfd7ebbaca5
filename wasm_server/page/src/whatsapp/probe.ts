/** What of the page was found and what is missing, and the page's state that follows from it. */

import { ABI } from '../config.ts';
import type { PageState } from '../events.ts';
import { type Bindings, WAJS_SUPPORTED } from './bindings.ts';
import { callingEnabled } from './calls.ts';
import { jidOf, phoneOfJid } from './people.ts';

export interface Probe {
  readonly abi: number;
  readonly state: PageState;
  readonly detail: string;
  readonly loggedIn: boolean;
  /** Digits of the account's own number. */
  readonly ownNumber: string | null;
  readonly callingEnabled: boolean;
  readonly crossOriginIsolated: boolean;
  readonly waVersion: string | null;
  readonly wajsVersion: string | null;
  readonly missing: string[];
}

/** What the page and the clock say; kept apart from how it is found out. */
export interface Findings {
  readonly hasLoader: boolean;
  readonly wajs: boolean;
  readonly injected: boolean;
  readonly authenticated: boolean | undefined;
  readonly calling: boolean | undefined;
  /** WhatsApp's stream to its server, null where it cannot be read. */
  readonly streamMode: string | null;
  readonly streamInfo: string | null;
  readonly isolated: boolean;
  readonly missing: readonly string[];
  /** Since this bundle was installed. */
  readonly ageMs: number;
}

/** Stream modes that a person has to look at: terms to accept, a blocked network, a version that is too old. */
const BLOCKED: ReadonlySet<string> = new Set(['PROXYBLOCK', 'TOS_BLOCK', 'SMB_TOS_BLOCK', 'DEPRECATED_VERSION']);

/** wa-js is evaluated right behind this bundle. */
const START_MS = 5000;
/** Modules come in over seconds, some 20 MB in all; only what is absent after this is missing. */
const SETTLE_MS = 30_000;

export function judge(findings: Findings): { state: PageState; detail: string } {
  const late = findings.ageMs >= SETTLE_MS;
  if (!findings.wajs) {
    return findings.ageMs >= START_MS
      ? { state: 'DEGRADED', detail: 'wa-js did not start in the page' }
      : { state: 'LOADING', detail: 'wa-js starts' };
  }
  if (!findings.hasLoader) {
    return late
      ? { state: 'DEGRADED', detail: 'the page has no module loader: it is not WhatsApp Web, or a new kind of it' }
      : { state: 'LOADING', detail: 'WhatsApp Web is loading' };
  }
  if (!findings.injected || findings.authenticated === undefined) {
    return late
      ? { state: 'DEGRADED', detail: 'wa-js cannot read this version of WhatsApp Web' }
      : { state: 'LOADING', detail: 'wa-js reads the modules' };
  }
  if (!findings.authenticated) return { state: 'LOGIN_REQUIRED', detail: 'no phone is linked: scan the QR code' };
  if (findings.streamMode === 'CONFLICT') {
    return { state: 'DEGRADED', detail: 'WhatsApp Web is open in another place: use it here to take calls' };
  }
  if (findings.streamMode !== null && BLOCKED.has(findings.streamMode)) {
    return { state: 'DEGRADED', detail: `WhatsApp Web does not go on: ${findings.streamMode}` };
  }
  if (findings.streamInfo === 'OFFLINE' || findings.streamMode === 'OFFLINE') {
    return { state: 'DEGRADED', detail: 'WhatsApp Web has lost its connection to WhatsApp' };
  }
  if (findings.streamMode === 'SYNCING' || findings.streamInfo === 'SYNCING') {
    return { state: 'LOADING', detail: 'WhatsApp Web synchronises' };
  }
  if (findings.missing.length > 0) {
    return late
      ? { state: 'DEGRADED', detail: `not found in this version of WhatsApp Web: ${findings.missing.join(', ')}` }
      : { state: 'LOADING', detail: `waiting for ${findings.missing.join(', ')}` };
  }
  if (!findings.isolated) {
    return { state: 'DEGRADED', detail: 'the page is not cross-origin isolated, so WhatsApp cannot call' };
  }
  if (findings.calling === false) {
    return { state: 'DEGRADED', detail: 'WhatsApp has not enabled calls on the web for this account' };
  }
  return { state: 'READY', detail: '' };
}

export function findings(bindings: Bindings, isolated: boolean, ageMs: number): Findings {
  const missing: string[] = [];
  if (bindings.injected) {
    if (bindings.callStore === undefined) missing.push('CallCollection');
    if (!bindings.has('getVoipStackInterface')) missing.push('getVoipStackInterface');
    if (!bindings.has('startWAWebVoipCall')) missing.push('startWAWebVoipCall');
    if (bindings.wpp?.contact?.queryExists === undefined) missing.push('queryExists');
  }
  const version = bindings.wajsVersion;
  if (version !== null && !version.startsWith(`${WAJS_SUPPORTED}.`)) missing.push(`wa-js ${WAJS_SUPPORTED}`);
  return {
    hasLoader: bindings.hasLoader,
    wajs: bindings.wpp !== undefined,
    injected: bindings.injected,
    authenticated: bindings.authenticated,
    calling: callingEnabled(bindings),
    streamMode: bindings.stream.mode,
    streamInfo: bindings.stream.info,
    isolated,
    missing,
    ageMs,
  };
}

export function probe(bindings: Bindings, isolated: boolean, ageMs: number): Probe {
  const found = findings(bindings, isolated, ageMs);
  return {
    abi: ABI,
    ...judge(found),
    loggedIn: found.authenticated === true,
    ownNumber: bindings.ownWids.map((wid) => phoneOfJid(jidOf(wid))).find((phone) => phone !== null) ?? null,
    callingEnabled: found.calling !== false && found.isolated,
    crossOriginIsolated: found.isolated,
    waVersion: bindings.waVersion,
    wajsVersion: bindings.wajsVersion,
    missing: [...found.missing],
  };
}
