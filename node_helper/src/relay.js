import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { makeGuard } from './auth.js';
import { makeServer, sendJson } from './http.js';

const MAX_JSON_BYTES = 16 * 1024 * 1024; // /json/protocol is 1.5 MB
const CHROME_TIMEOUT_MS = 10_000;
const HANDOVER_MS = 1000;
const HTTP_PATH = /^\/json(\/(version|list|protocol|new|activate|close)([/?].*)?)?\/?$/;
const SOCKET_PATH = /^\/devtools\/(browser|page)\/[0-9A-Za-z-]+$/;
const CONTROLLER = /^[0-9A-Za-z-]{16,64}$/;

/**
 * Makes Chrome's loopback CDP port reachable: HTTP with Host rewritten both ways, websockets as raw bytes.
 *
 * A page has one controller: whoever drives it over a websocket of the page's own keeps everybody else out of that. The
 * browser's websocket, which the gateway and `ponte doctor` share, has the gateway's mark in the page for that.
 *
 * A gateway that was cut off connects again while TCP still tries to reach it on the connection before, for minutes. Until
 * that one is closed Chrome waits for its answers, to requests that it intercepts for one: so a name in `Ponte-Controller`
 * has one connection, the last.
 *
 * @param {{token: string, chrome: import('./chrome.js').Chrome, tls?: import('./config.js').Tls | undefined}} parts
 * @returns {{server: import('node:http').Server, closeSockets: () => void}}
 */
export function makeRelay({ token, chrome, tls }) {
  const guard = makeGuard(token);
  /** @type {Set<import('node:stream').Duplex>} */
  const sockets = new Set();
  /** @type {Set<string>} paths of pages that somebody drives */
  const controlled = new Set();
  /** @type {Map<string, import('node:stream').Duplex>} by the name of who is connected */
  const named = new Map();

  const server = makeServer((request, response) => {
    const refused = guard(request.headers);
    if (refused) sendJson(response, refused.status, { code: refused.code, detail: refused.detail });
    else if (!HTTP_PATH.test(request.url ?? '')) {
      sendJson(response, 404, { code: 'not_found', detail: 'The relay has /json/… and websockets under /devtools/ only' });
    } else if (chrome.port === 0) sendJson(response, 503, { code: 'chrome_down', detail: chrome.detail });
    else relayHttp(request, response, chrome.port, tls !== undefined);
  }, tls);

  /**
   * Be the controller of a page, once the last one has gone: it may be about to.
   *
   * @param {string} path
   * @param {import('node:stream').Duplex} socket
   * @param {number} deadline
   * @param {() => void} begin
   */
  function control(path, socket, deadline, begin) {
    if (socket.destroyed) return;
    if (!controlled.has(path)) {
      controlled.add(path);
      socket.once('close', () => controlled.delete(path));
      begin();
    } else if (Date.now() > deadline) refuse(socket, 409, 'Somebody drives this page already');
    else setTimeout(() => { control(path, socket, deadline, begin); }, 20).unref();
  }

  /**
   * @param {string} name
   * @param {import('node:stream').Duplex} socket
   */
  function supersede(name, socket) {
    const before = named.get(name);
    named.set(name, socket);
    socket.once('close', () => {
      if (named.get(name) === socket) named.delete(name);
    });
    before?.destroy();
  }

  server.on('upgrade', (request, socket, head) => {
    const refused = guard(request.headers);
    if (refused) refuse(socket, refused.status, refused.detail);
    else if (!SOCKET_PATH.test(request.url ?? '')) refuse(socket, 404, 'No websocket at this path');
    else if (chrome.port === 0) refuse(socket, 503, chrome.detail);
    else {
      const path = request.url ?? '';
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
      const name = request.headers['ponte-controller'];
      if (typeof name === 'string' && CONTROLLER.test(name)) supersede(name, socket);
      if (path.startsWith('/devtools/page/')) {
        control(path, socket, Date.now() + HANDOVER_MS, () => {
          relaySocket(request, /** @type {import('node:net').Socket} */ (socket), head, chrome.port);
        });
        return;
      }
      relaySocket(request, /** @type {import('node:net').Socket} */ (socket), head, chrome.port);
    }
  });

  return { server, closeSockets: () => { for (const socket of sockets) socket.destroy(); } };
}

/**
 * @param {import('./http.js').Request} request
 * @param {import('./http.js').Response} response
 * @param {number} port
 * @param {boolean} secure whether we are reached over TLS
 */
function relayHttp(request, response, port, secure) {
  const local = request.socket.localAddress ?? '127.0.0.1';
  const own = request.headers.host ?? `${local.includes(':') ? `[${local}]` : local}:${request.socket.localPort}`;
  const asked = httpRequest(
    // Chrome answers only to an address or localhost in Host.
    { host: '127.0.0.1', port, method: request.method, path: request.url, timeout: CHROME_TIMEOUT_MS, agent: false },
    (answer) => {
      /** @type {Buffer[]} */
      const parts = [];
      let size = 0;
      answer.on('data', (part) => {
        size += part.length;
        parts.push(part);
        if (size > MAX_JSON_BYTES) answer.destroy(new Error('too large'));
      });
      answer.once('error', failed);
      answer.once('end', () => {
        const body = Buffer.concat(parts)
          .toString('utf8')
          .replaceAll(`ws://127.0.0.1:${port}`, `${secure ? 'wss' : 'ws'}://${own}`)
          .replaceAll(`127.0.0.1:${port}`, own);
        response.writeHead(answer.statusCode ?? 502, {
          'Content-Type': answer.headers['content-type'] ?? 'application/json; charset=UTF-8',
          'Content-Length': Buffer.byteLength(body),
          'Cache-Control': 'no-store',
        });
        response.end(body);
      });
    },
  );
  function failed() {
    asked.destroy();
    if (response.headersSent) response.destroy();
    else sendJson(response, 502, { code: 'chrome_down', detail: 'Chrome does not answer; it is restarted if it stays so' });
  }
  asked.once('timeout', failed);
  asked.once('error', failed);
  response.once('close', () => asked.destroy());
  asked.end();
}

/**
 * Pass a websocket on byte by byte: frames are not parsed, so they cost neither time nor memory here.
 *
 * @param {import('./http.js').Request} request
 * @param {import('node:net').Socket} socket
 * @param {Buffer} head bytes that came after the request
 * @param {number} port
 */
function relaySocket(request, socket, head, port) {
  const chrome = connect({ host: '127.0.0.1', port, noDelay: true });
  socket.setNoDelay(true);
  socket.setTimeout(0);
  // A gateway whose machine went away is noticed by TCP, within a minute where nothing was on its way to it.
  socket.setKeepAlive(true, 20_000);
  let open = false;
  chrome.once('connect', () => {
    open = true;
    const lines = [`GET ${request.url} HTTP/1.1`, `Host: 127.0.0.1:${port}`];
    for (let index = 0; index + 1 < request.rawHeaders.length; index += 2) {
      const name = request.rawHeaders[index] ?? '';
      if (!/^(host|authorization|ponte-controller)$/i.test(name)) lines.push(`${name}: ${request.rawHeaders[index + 1]}`);
    }
    chrome.write(`${lines.join('\r\n')}\r\n\r\n`);
    if (head.length) chrome.write(head);
    socket.pipe(chrome);
    chrome.pipe(socket);
  });
  chrome.once('error', () => {
    if (open) socket.destroy();
    else refuse(socket, 502, 'Chrome does not answer');
  });
  socket.once('error', () => chrome.destroy());
  socket.once('close', () => chrome.destroy());
  chrome.once('close', () => {
    if (open) socket.destroy();
  });
}

/**
 * @param {import('node:stream').Duplex} socket
 * @param {number} status
 * @param {string} detail
 */
function refuse(socket, status, detail) {
  socket.once('error', () => socket.destroy());
  const extra = status === 401 ? 'WWW-Authenticate: Bearer realm="ponte-helper"\r\n' : '';
  socket.end(
    `HTTP/1.1 ${status} Refused\r\n${extra}Content-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(detail)}\r\n` +
      `Connection: close\r\n\r\n${detail}`,
  );
}
