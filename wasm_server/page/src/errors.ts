/** Errors of commands: the gateway reads `code: sentence` from the message of what a command rejects with. */

export type ErrorCode =
  | 'bad_argument'
  | 'bad_offer'
  | 'binding_missing'
  | 'busy_line'
  | 'call_failed'
  | 'call_not_found'
  | 'call_not_ringing'
  | 'calling_disabled'
  | 'codec_unsupported'
  | 'internal'
  | 'media_not_connected'
  | 'no_audio_path'
  | 'not_at_login'
  | 'not_here'
  | 'not_on_whatsapp'
  | 'not_ready'
  | 'timeout';

export class PonteError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, sentence: string) {
    super(`${code}: ${sentence}`);
    this.code = code;
  }
}

/** What a thrown value says, in one line without a stack. */
export function describe(fault: unknown): string {
  if (fault instanceof Error) return fault.message || fault.name;
  return String(fault);
}

/** Give any failure of a command a code, keeping the ones that have one. */
export function asPonteError(fault: unknown): PonteError {
  return fault instanceof PonteError ? fault : new PonteError('internal', describe(fault));
}
