/** Why a call ended, from what its model says of it: WhatsApp has no one field for it. */

import type { CallModel } from './bindings.ts';
import { CallLogResult, EndReason } from './states.ts';

export function asNumber(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

/** WhatsApp's log says that another device of the account took the call. */
export function takenElsewhere(model: CallModel): boolean {
  return model.callLogResult === CallLogResult.AcceptedElsewhere;
}

/** null while the call runs, and where WhatsApp gives no more than that it was declined or hung up. */
export function endReasonOf(model: CallModel): number | null {
  const { callInfo } = model;
  for (const told of [model.endReason, model.callEndReason, callInfo?.endReason, callInfo?.callEndReason]) {
    const reason = asNumber(told);
    if (reason !== null) return reason;
  }
  if (model.peerBusy === true) return EndReason.RejectDoNotDisturb;
  switch (model.callLogResult) {
    case CallLogResult.Canceled:
      return EndReason.Self;
    case CallLogResult.Missed:
    case CallLogResult.Unavailable:
      return EndReason.Timeout;
    case CallLogResult.Failed:
      // getUserMedia's own names: no microphone, not allowed, taken by somebody else.
      return /^(NotFound|NotAllowed|NotReadable)Error$/.test(String(model.callFailedReason))
        ? EndReason.MicPermissionDenied
        : null;
    default:
      return model.userEndedCall === true ? EndReason.Self : null;
  }
}
