import { makeApi } from './api.js';
import { Chrome } from './chrome.js';
import { listen, shut } from './http.js';
import { log } from './log.js';
import { makeRelay } from './relay.js';

/**
 * @typedef {object} Helper
 * @property {number} port of the API
 * @property {number} cdpPort of the CDP relay
 * @property {Chrome} chrome
 * @property {() => Promise<void>} stop
 */

/**
 * Start API and relay, then Chrome; both answer while Chrome is still starting.
 *
 * @param {import('./config.js').Config} config
 * @param {Partial<import('./chrome.js').Pace>} [pace]
 * @returns {Promise<Helper>}
 */
export async function startHelper(config, pace) {
  const chrome = new Chrome(config, pace);
  let cdpPort = config.cdpPort;
  const api = makeApi({ token: config.token, chrome, cdp: () => ({ host: config.cdpHost, port: cdpPort }) });
  const relay = makeRelay({ token: config.token, chrome });
  const port = await listen(api, config.port, config.host);
  try {
    cdpPort = await listen(relay.server, config.cdpPort, config.cdpHost);
  } catch (error) {
    await shut(api);
    throw error;
  }
  const running = chrome.run().catch((/** @type {unknown} */ error) => { log('error', 'chrome.supervisor_failed', { detail: String(error) }); });
  return {
    port,
    cdpPort,
    chrome,
    async stop() {
      // Chrome first: what it says while it closes may still reach the gateway.
      await chrome.stop();
      relay.closeSockets();
      await Promise.all([running, shut(relay.server), shut(api)]);
    },
  };
}
