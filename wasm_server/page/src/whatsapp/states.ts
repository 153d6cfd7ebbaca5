/** WhatsApp's own numbers (docs: facts; read in its sources). */

export const CallState = {
  None: 0,
  Calling: 1,
  PreacceptReceived: 2,
  ReceivedCall: 3,
  AcceptSent: 4,
  AcceptReceived: 5,
  CallActive: 6,
  CallActiveElsewhere: 7,
  ReceivedCallWithoutOffer: 8,
  Rejoining: 9,
  Link: 10,
  ConnectedLonely: 11,
  PreCalling: 12,
  CallStateEnding: 13,
  CallBCallStarting: 14,
} as const;

/** How WhatsApp's call log names an end. */
export const CallLogResult = {
  Canceled: 1,
  Missed: 2,
  Unavailable: 3,
  Rejected: 4,
  Connected: 5,
  AcceptedElsewhere: 6,
  Failed: 7,
} as const;

/** Why a call ended, in the numbers that the gateway is told. */
export const EndReason = {
  Timeout: 1,
  Self: 2,
  RejectDoNotDisturb: 3,
  RejectBlocked: 4,
  MicPermissionDenied: 5,
} as const;

/** What older builds, and wa-js's own tables still, call the states. */
const NAMED: Readonly<Record<string, number>> = {
  INCOMING_RING: CallState.ReceivedCall,
  OUTGOING_CALLING: CallState.Calling,
  OUTGOING_RING: CallState.PreacceptReceived,
  CONNECTING: CallState.AcceptSent,
  ACTIVE: CallState.CallActive,
  CONNECTION_LOST: CallState.Rejoining,
  HANDLED_REMOTELY: CallState.CallActiveElsewhere,
  REMOTE_CALL_IN_PROGRESS: CallState.CallActiveElsewhere,
  ENDED: CallState.CallStateEnding,
  REJECTED: CallState.CallStateEnding,
  FAILED: CallState.CallStateEnding,
  NOT_ANSWERED: CallState.CallStateEnding,
};

const plain = (name: string): string => name.toLowerCase().replaceAll('_', '');

const BY_NAME: ReadonlyMap<string, number> = new Map(
  [...Object.entries(NAMED), ...Object.entries(CallState)].map(([name, number]) => [plain(name), number]),
);

/** What a name of a state stands for; null where nobody knows it. */
export function numberOfName(name: string): number | null {
  return BY_NAME.get(plain(name)) ?? null;
}

/** A state as a number, however this build of WhatsApp Web writes it; null where it says nothing. */
export function numberOfState(value: unknown): number | null {
  if (typeof value === 'number') return Number.isFinite(value) ? value : null;
  if (typeof value !== 'string') return null;
  return /^\d+$/.test(value) ? Number(value) : numberOfName(value);
}

/** Only a call that this account placed is ever in such a state. */
export function isPlaced(state: number | null): boolean {
  return state === CallState.Calling || state === CallState.PreCalling || state === CallState.PreacceptReceived;
}

/** Both sides are in the call, or were and may be again: such a call does not end because another one comes. */
export function isConnected(state: number | null): boolean {
  return state === CallState.CallActive || state === CallState.Rejoining || state === CallState.ConnectedLonely;
}

/** The call rings here and can be accepted or rejected. */
export function isRinging(state: number | null): boolean {
  return state === CallState.ReceivedCall || state === CallState.ReceivedCallWithoutOffer;
}

/** As `startWAWebVoipCall` is called by wa-js and WhatsApp's own button: where from, and which kind of start. */
export const CALL_ENTRY_POINT = 8;
export const CALL_START_KIND = 5;

/** As `endCall` is called: why (ended by the user), and whether to tell the peer. */
export const END_BY_USER = 2;
