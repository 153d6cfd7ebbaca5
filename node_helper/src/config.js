import { isIP } from 'node:net';
import { homedir } from 'node:os';
import path from 'node:path';

/** A setting is wrong; the message is one sentence that names it. */
export class ConfigError extends Error {}

/**
 * @typedef {object} Config
 * @property {string} host address of the API
 * @property {number} port port of the API; 0 takes a free one
 * @property {string} cdpHost address of the CDP relay
 * @property {number} cdpPort port of the CDP relay; 0 takes a free one
 * @property {string} token protects everything; empty: loopback only, unprotected
 * @property {string} profile Chrome's user data folder
 * @property {string | undefined} chrome path of Chrome; undefined: the launcher looks for one
 * @property {string[]} flags Chrome flags after our own
 * @property {string} url first page
 */

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|::1)$/;

/**
 * @param {string} host
 * @returns {boolean} whether only this machine reaches it
 */
export function isLoopback(host) {
  return LOOPBACK.test(host);
}

/**
 * @param {string} name
 * @param {string | undefined} text
 * @param {number} fallback
 */
function port(name, text, fallback) {
  if (!text) return fallback;
  const value = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value <= 65535)) throw new ConfigError(`${name} is not a port: give a number from 0 (a free one) to 65535`);
  return value;
}

/**
 * @param {string} name
 * @param {string | undefined} text
 */
function host(name, text) {
  const value = text || '127.0.0.1';
  if (value !== 'localhost' && isIP(value) === 0) {
    throw new ConfigError(`${name} is not an IP address to listen on: give 127.0.0.1, 0.0.0.0 or one of this machine's`);
  }
  return value;
}

/**
 * Split flags at spaces; quotes keep a value together.
 *
 * @param {string} text
 */
export function splitFlags(text) {
  const found = text.match(/(?:[^\s"']+|"[^"]*"|'[^']*')+/g) ?? [];
  return found.map((flag) => flag.replace(/"([^"]*)"|'([^']*)'/g, (_, double, single) => double ?? single));
}

/**
 * Read the settings from the environment.
 *
 * @param {Record<string, string | undefined>} env
 * @returns {Config}
 * @throws {ConfigError}
 */
export function readConfig(env) {
  const token = env.PONTE_HELPER_TOKEN ?? '';
  if (token && !/^[\x21-\x7e]+$/.test(token)) {
    throw new ConfigError('PONTE_HELPER_TOKEN has characters that an HTTP header cannot carry');
  }
  const config = {
    host: host('PONTE_HELPER_HOST', env.PONTE_HELPER_HOST),
    port: port('PONTE_HELPER_PORT', env.PONTE_HELPER_PORT, 3000),
    cdpHost: host('PONTE_HELPER_CDP_HOST', env.PONTE_HELPER_CDP_HOST),
    cdpPort: port('PONTE_HELPER_CDP_PORT', env.PONTE_HELPER_CDP_PORT, 9223),
    token,
    profile: path.resolve(env.PONTE_HELPER_PROFILE || path.join(homedir(), '.local/share/ponte/chrome')),
    chrome: env.PONTE_HELPER_CHROME || undefined,
    flags: splitFlags(env.PONTE_HELPER_FLAGS ?? ''),
    url: env.PONTE_HELPER_URL || 'about:blank',
  };
  for (const flag of config.flags) {
    if (!flag.startsWith('--')) throw new ConfigError(`PONTE_HELPER_FLAGS: every flag starts with --, ${flag} does not`);
    if (/^--(disable-web-security|remote-debugging-(port|pipe|address)|user-data-dir)(=|$)/.test(flag)) {
      throw new ConfigError(
        `PONTE_HELPER_FLAGS must not have ${flag.split('=')[0]}: the helper sets port and profile itself, and without ` +
          'web security WhatsApp Web has no calls',
      );
    }
  }
  if (!/^(https?:\/\/|about:blank$)/.test(config.url)) {
    throw new ConfigError('PONTE_HELPER_URL is neither an http or https URL nor about:blank');
  }
  for (const [name, address] of [['PONTE_HELPER_HOST', config.host], ['PONTE_HELPER_CDP_HOST', config.cdpHost]]) {
    // Whoever reaches the CDP port owns the WhatsApp account.
    if (!token && !isLoopback(address ?? '')) {
      throw new ConfigError(`${name} is not loopback, so PONTE_HELPER_TOKEN must be set: give a long random token`);
    }
  }
  return config;
}
