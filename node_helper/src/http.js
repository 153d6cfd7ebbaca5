import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';

/** @typedef {import('node:http').IncomingMessage} Request */
/** @typedef {import('node:http').ServerResponse} Response */

/**
 * @param {Response} response
 * @param {number} status
 * @param {object} content
 */
export function sendJson(response, status, content) {
  const body = JSON.stringify(content);
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(body),
    'Cache-Control': 'no-store',
    ...(status === 401 ? { 'WWW-Authenticate': 'Bearer realm="ponte-helper"' } : {}),
  });
  response.end(body);
}

/**
 * A server with bounds on what a peer may hold open.
 *
 * @param {(request: Request, response: Response) => void} listener
 * @param {import('./config.js').Tls} [tls] certificate and key; without them it speaks plain HTTP
 * @returns {import('node:http').Server}
 */
export function makeServer(listener, tls) {
  const bounds = { requestTimeout: 30_000, headersTimeout: 10_000, maxHeaderSize: 16_384 };
  const server = tls ? createTlsServer({ ...bounds, ...tls, minVersion: 'TLSv1.2' }, listener) : createServer(bounds, listener);
  server.maxConnections = 128;
  return server;
}

/**
 * @param {import('node:http').Server} server
 * @param {number} port
 * @param {string} host
 * @returns {Promise<number>} the port it listens on
 */
export function listen(server, port, host) {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      const address = server.address();
      resolve(typeof address === 'object' && address ? address.port : port);
    });
  });
}

/**
 * @param {import('node:http').Server} server
 * @returns {Promise<void>}
 */
export function shut(server) {
  return new Promise((resolve) => {
    server.close(() => { resolve(); });
    server.closeAllConnections();
  });
}
