/** What the softphone may be told, and what its failures are called. Pure. */

/** Why something does not work; each has a sentence in every language. */
export type Fault =
  | 'url_missing'
  | 'url_wrong'
  | 'url_plain_from_secure_page'
  | 'url_plain_elsewhere'
  | 'user_missing'
  | 'number_missing'
  | 'number_wrong'
  | 'page_insecure'
  | 'microphone_denied'
  | 'microphone_missing'
  | 'microphone_failed'
  | 'no_connection'
  | 'wrong_password'
  | 'unknown_user'
  | 'too_many_phones'
  | 'no_answer_from_server'
  | 'refused'
  | 'not_found'
  | 'busy'
  | 'declined'
  | 'unavailable'
  | 'media'
  | 'not_loaded'
  | 'failed';

/**
 * What is wrong with the URL of a SIP WebSocket, or null.
 *
 * @param text as typed
 * @param page where the dashboard itself came from: by https, a browser opens wss:// only; by http, the page's policy
 *   lets it go unencrypted to its own host and no other
 */
export function urlFault(text: string, page: Pick<Location, 'protocol' | 'hostname'>): Fault | null {
  if (text.trim() === '') return 'url_missing';
  let url: URL;
  try {
    url = new URL(text.trim());
  } catch {
    return 'url_wrong';
  }
  if ((url.protocol !== 'ws:' && url.protocol !== 'wss:') || url.hostname === '' || url.username !== '' || url.hash !== '') return 'url_wrong';
  if (url.protocol === 'wss:') return null;
  if (page.protocol === 'https:') return 'url_plain_from_secure_page';
  return url.hostname === page.hostname ? null : 'url_plain_elsewhere';
}

/** The number or extension as it goes into a SIP URI: spaces, hyphens, dots and brackets are how people write it. */
export function dialled(text: string): { readonly number: string } | { readonly fault: Fault } {
  const bare = text.replace(/[\s().-]/g, '');
  if (bare === '') return { fault: 'number_missing' };
  return /^(\+?[0-9*#]{1,32}|[A-Za-z][A-Za-z0-9_]{0,31})$/.test(bare) ? { number: bare } : { fault: 'number_wrong' };
}

/** The SIP URI of *user* at the host of the WebSocket. `#` must be escaped in it (RFC 3261, section 25.1). */
export function sipUri(user: string, socketUrl: string): string {
  return `sip:${encodeURIComponent(user).replaceAll('%2B', '+')}@${new URL(socketUrl).hostname}`;
}

/** Why a registration failed, by the final answer's status; null: none came. */
export function registrationFault(status: number | null): Fault {
  switch (status) {
    case null:
      return 'no_answer_from_server';
    case 401:
    case 407:
      return 'wrong_password';
    case 404:
      return 'unknown_user';
    case 403:
      return 'too_many_phones';
    default:
      return 'refused';
  }
}

/** JsSIP's words for ends that are nobody's fault. */
const PLAIN_ENDS: ReadonlySet<string> = new Set(['Terminated', 'Canceled']);

/**
 * Why a call ended, or null where it just ended.
 *
 * @param cause in JsSIP's words
 * @param status of the final answer, null where there was none
 */
export function callFault(cause: string, status: number | null): Fault | null {
  if (PLAIN_ENDS.has(cause)) return null;
  switch (status) {
    case 401:
    case 403:
    case 407:
      return 'wrong_password';
    case 404:
    case 484:
    case 604:
      return 'not_found';
    case 486:
    case 600:
      return 'busy';
    case 603:
      return 'declined';
    case 480:
    case 503:
      return 'unavailable';
    case 488:
    case 606:
      return 'media';
  }
  switch (cause) {
    case 'Connection Error':
      return 'no_connection';
    case 'Request Timeout':
      return 'no_answer_from_server';
    case 'Authentication Error':
      return 'wrong_password';
    case 'User Denied Media Access':
      return 'microphone_denied';
    case 'WebRTC Error':
    case 'Bad Media Description':
    case 'Incompatible SDP':
    case 'Missing SDP':
    case 'RTP Timeout':
      return 'media';
    case 'Busy':
      return 'busy';
    case 'Rejected':
      return 'declined';
    case 'No Answer':
    case 'Expires':
      return null; // an incoming call that rang out
  }
  return 'failed';
}

/** Why there is no microphone, by the name of what getUserMedia threw. */
export function microphoneFault(name: string): Fault {
  if (name === 'NotAllowedError' || name === 'SecurityError') return 'microphone_denied';
  return name === 'NotFoundError' || name === 'OverconstrainedError' ? 'microphone_missing' : 'microphone_failed';
}
