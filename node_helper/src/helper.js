import { makeApi } from './api.js';
import { Chrome } from './chrome.js';
import { Clock } from './host.js';
import { listen, shut } from './http.js';
import { log } from './log.js';
import { isIdle } from './pages.js';
import { makeRelay } from './relay.js';

/**
 * @typedef {object} Profile one Chrome with a profile of its own, and the relay before it
 * @property {string} name
 * @property {Chrome} chrome
 * @property {() => {host: string, port: number, tls: boolean}} cdp where its relay listens
 */

/**
 * @typedef {object} Helper
 * @property {number} port of the API
 * @property {number} cdpPort of the first profile's CDP relay
 * @property {Chrome} chrome of the first profile
 * @property {{name: string, cdp_port: number}[]} profiles
 * @property {() => void} kill ends every Chrome at once: the last resort of a helper that has no time left
 * @property {() => Promise<void>} stop
 */

/**
 * Start API and relays, then each Chrome; all answer while Chrome is still starting.
 *
 * @param {import('./config.js').Config} config
 * @param {Partial<import('./chrome.js').Pace>} [pace]
 * @returns {Promise<Helper>}
 */
export async function startHelper(config, pace) {
  const { token, tls } = config;
  const parts = config.profiles.map(({ name, folder, cdpPort }) => {
    const chrome = new Chrome({ ...config, profile: folder }, pace, isIdle);
    const relay = makeRelay({ token, chrome, tls });
    const found = { name, chrome, relay, cdpPort, cdp: () => ({ host: config.cdpHost, port: found.cdpPort, tls: tls !== undefined }) };
    return found;
  });
  const [first] = parts;
  if (first === undefined) throw new Error('a helper without a profile');
  const api = makeApi({ token, tls, profiles: parts, named: config.named, clock: new Clock() });
  /** @type {import('node:http').Server[]} */
  const listening = [];
  let port;
  try {
    port = await listen(api, config.port, config.host);
    listening.push(api);
    for (const part of parts) {
      part.cdpPort = await listen(part.relay.server, part.cdpPort, config.cdpHost);
      listening.push(part.relay.server);
    }
  } catch (error) {
    await Promise.all(listening.map(shut));
    throw error;
  }
  const running = parts.map(({ chrome }) =>
    chrome.run().catch((/** @type {unknown} */ error) => { log('error', 'chrome.supervisor_failed', { detail: String(error) }); }),
  );
  return {
    port,
    cdpPort: first.cdpPort,
    chrome: first.chrome,
    profiles: parts.map(({ name, cdpPort }) => ({ name, cdp_port: cdpPort })),
    kill() {
      for (const { chrome } of parts) chrome.kill();
    },
    async stop() {
      // Chrome first: what it says while it closes may still reach the gateway.
      await Promise.all(parts.map(({ chrome }) => chrome.stop()));
      for (const { relay } of parts) relay.closeSockets();
      await Promise.all([...running, ...listening.map(shut)]);
    },
  };
}
