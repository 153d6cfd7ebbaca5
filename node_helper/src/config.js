import { readFileSync } from 'node:fs';
import { BlockList, isIP } from 'node:net';
import { homedir, networkInterfaces } from 'node:os';
import path from 'node:path';

/** A setting is wrong; the message is one sentence that names it. */
export class ConfigError extends Error {}

/**
 * @typedef {object} Config
 * @property {string} host address of the API
 * @property {number} port port of the API; 0 takes a free one
 * @property {string} cdpHost address of the CDP relay
 * @property {string} token protects everything; empty: loopback only, unprotected
 * @property {{name: string, folder: string, cdpPort: number}[]} profiles Chrome's user data folders; each has a relay
 * @property {boolean} named whether the profiles were named, and have to be named in the API's paths
 * @property {Tls | undefined} tls
 * @property {number} memoryBytes what Chrome may use before it is restarted while no call runs; 0: anything
 * @property {string | undefined} chrome path of Chrome; undefined: the launcher looks for one
 * @property {string[]} flags Chrome flags after our own
 * @property {string} url first page
 */

/** @typedef {{cert: Buffer, key: Buffer}} Tls PEM */

/** By this address a gateway knows a page that it may send to WhatsApp Web: there is no other, empty one beside it then. */
export const OPENING_URL = 'about:blank#ponte';

/**
 * What an interface may have that IANA's special-purpose registries (RFC 6890) call not globally reachable: private
 * networks, a provider's, this link and this machine, benchmarks (198.18.0.0/15) and documents.
 */
const PRIVATE = new BlockList();
for (const [address, prefix] of /** @type {const} */ ([
  ['10.0.0.0', 8], ['172.16.0.0', 12], ['192.168.0.0', 16], ['169.254.0.0', 16], ['100.64.0.0', 10], ['127.0.0.0', 8],
  ['198.18.0.0', 15], ['192.0.2.0', 24], ['198.51.100.0', 24], ['203.0.113.0', 24],
])) PRIVATE.addSubnet(address, prefix, 'ipv4');
for (const [address, prefix] of /** @type {const} */ ([
  ['fc00::', 7], ['fe80::', 10], ['::1', 128], ['2001:db8::', 32], ['3fff::', 20],
])) PRIVATE.addSubnet(address, prefix, 'ipv6');

/**
 * @param {string} address an address to listen on; a wildcard stands for every address of this machine
 * @param {string[]} [own] those addresses
 * @returns {boolean} whether others than a private network may reach it
 */
export function isPublic(address, own = Object.values(networkInterfaces()).flatMap((list) => list?.map((one) => one.address) ?? [])) {
  if (address === 'localhost') return false;
  if (address === '0.0.0.0') return own.some((one) => isIP(one) === 4 && isPublic(one, []));
  if (/^[0:]+$/.test(address)) return own.some((one) => isPublic(one, []));
  const bare = address.split('%')[0] ?? '';
  return !PRIVATE.check(bare, isIP(bare) === 6 ? 'ipv6' : 'ipv4');
}

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

/** @param {Record<string, string | undefined>} env */
function profiles(env) {
  const folder = path.resolve(env.PONTE_HELPER_PROFILE || path.join(homedir(), '.local/share/ponte/chrome'));
  const first = port('PONTE_HELPER_CDP_PORT', env.PONTE_HELPER_CDP_PORT, 9223);
  const names = (env.PONTE_HELPER_PROFILES ?? '').split(',').map((name) => name.trim()).filter(Boolean);
  for (const name of names) {
    if (!/^[a-z0-9][a-z0-9-]{0,31}$/.test(name)) throw new ConfigError('PONTE_HELPER_PROFILES: a name has a to z, 0 to 9 and -, at most 32');
    if (names.indexOf(name) !== names.lastIndexOf(name)) throw new ConfigError(`PONTE_HELPER_PROFILES names ${name} twice`);
  }
  if (first && first + names.length - 1 > 65535) throw new ConfigError('PONTE_HELPER_CDP_PORT leaves no room for a port for each profile');
  return {
    named: names.length > 0,
    profiles: names.length > 0
      ? names.map((name, index) => ({ name, folder: path.join(folder, name), cdpPort: first ? first + index : 0 }))
      : [{ name: 'default', folder, cdpPort: first }],
  };
}

/** @param {string | undefined} text */
function megabytes(text) {
  if (!text) return 0;
  if (!/^\d{3,6}$/.test(text)) throw new ConfigError('PONTE_HELPER_MEMORY_MB is not a limit: give megabytes, from 100 on');
  return Number(text);
}

/**
 * @param {string | undefined} certificate
 * @param {string | undefined} key
 * @returns {Tls | undefined}
 */
function tls(certificate, key) {
  if (!certificate && !key) return undefined;
  if (!certificate) throw new ConfigError('PONTE_HELPER_TLS_KEY needs PONTE_HELPER_TLS_CERT beside it');
  try {
    return { cert: readFileSync(certificate), key: readFileSync(key || certificate) };
  } catch (error) {
    throw new ConfigError(`PONTE_HELPER_TLS_CERT or PONTE_HELPER_TLS_KEY cannot be read: ${/** @type {Error} */ (error).message}`);
  }
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
    token,
    ...profiles(env),
    tls: tls(env.PONTE_HELPER_TLS_CERT, env.PONTE_HELPER_TLS_KEY),
    memoryBytes: megabytes(env.PONTE_HELPER_MEMORY_MB) * 2 ** 20,
    chrome: env.PONTE_HELPER_CHROME || undefined,
    flags: splitFlags(env.PONTE_HELPER_FLAGS ?? ''),
    url: env.PONTE_HELPER_URL || OPENING_URL,
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
  if (!/^(https?:\/\/|about:blank(#ponte)?$)/.test(config.url)) {
    throw new ConfigError('PONTE_HELPER_URL is neither an http or https URL nor about:blank');
  }
  for (const [name, address] of [['PONTE_HELPER_HOST', config.host], ['PONTE_HELPER_CDP_HOST', config.cdpHost]]) {
    // Whoever reaches the CDP port owns the WhatsApp account.
    if (!token && !isLoopback(address ?? '')) {
      throw new ConfigError(`${name} is not loopback, so PONTE_HELPER_TOKEN must be set: give a long random token`);
    }
    if (!config.tls && isPublic(address ?? '')) {
      throw new ConfigError(
        `${name} is a public address, where a token alone can be read on the way: set PONTE_HELPER_TLS_CERT, or listen on a private one`,
      );
    }
  }
  return config;
}
