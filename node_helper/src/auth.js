import { createHash, timingSafeEqual } from 'node:crypto';

/** @param {string} text */
const digest = (text) => createHash('sha256').update(text).digest();

/**
 * Make the check of a request: its token, and that no web page made it.
 *
 * @param {string} token empty: none is asked for
 * @returns {(headers: import('node:http').IncomingHttpHeaders) => {status: number, code: string, detail: string} | null}
 *   what is wrong, or null
 */
export function makeGuard(token) {
  const wanted = digest(token);
  return (headers) => {
    // Browsers send Origin with websockets and foreign requests; a page on this machine must not drive Chrome.
    if (headers.origin !== undefined) {
      return { status: 403, code: 'origin_refused', detail: 'Requests from web pages are refused' };
    }
    if (token) {
      // Hashed first, so that the comparison takes as long for any token.
      if (timingSafeEqual(digest(presented(headers.authorization ?? '')), wanted)) return null;
      return { status: 401, code: 'unauthorized', detail: 'The token is missing or wrong; see PONTE_HELPER_TOKEN' };
    }
    // Without a token a name in Host may be a foreign page that re-bound its DNS name to this machine.
    if (!/^(localhost|[\d.]+|\[[\da-f:.]+\])(:\d+)?$/i.test(headers.host ?? '')) {
      return { status: 403, code: 'host_refused', detail: 'Use the IP address, or set PONTE_HELPER_TOKEN' };
    }
    return null;
  };
}

/**
 * @param {string} authorization
 * @returns {string} the token of a Bearer header, or the password of a Basic one
 */
function presented(authorization) {
  const [, scheme = '', value = ''] = /^(bearer|basic) +(\S+)$/i.exec(authorization.trim()) ?? [];
  if (scheme.toLowerCase() === 'bearer') return value;
  const text = Buffer.from(value, 'base64').toString('utf8');
  return text.slice(text.indexOf(':') + 1);
}
