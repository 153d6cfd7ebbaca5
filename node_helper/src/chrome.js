import { spawn } from 'node:child_process';
import { EventEmitter } from 'node:events';
import { request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { Launcher } from 'chrome-launcher';
import { WebSocket } from 'ws';
import { OPENING_URL } from './config.js';
import { chromeFlags } from './flags.js';
import { log } from './log.js';
import { treeBytes } from './memory.js';
import { leaveProfile, prepareProfile, touchProfile } from './profile.js';

/**
 * @typedef {object} Pace how fast things are tried
 * @property {number} start_ms until Chrome's port must listen
 * @property {number} stop_ms for Chrome to close and write its profile, and again after SIGTERM
 * @property {number} backoff_min_ms pause before the first restart
 * @property {number} backoff_max_ms cap of the doubled pause
 * @property {number} steady_ms after this long up, the pause starts small again
 * @property {number} check_ms between questions whether Chrome still answers
 * @property {number} check_timeout_ms for one answer
 * @property {number} memory_checks checks between looks at the memory where it has no limit: each reads all of /proc
 * @property {number} checks_lost lost answers in a row after which Chrome is killed
 * @property {number} loop_failures ends in a row, none of them steady, that count as a crash loop
 */

/** @type {Pace} */
export const PACE = {
  start_ms: 30_000,
  stop_ms: 3000,
  backoff_min_ms: 250,
  backoff_max_ms: 30_000,
  steady_ms: 30_000,
  check_ms: 10_000,
  check_timeout_ms: 10_000,
  memory_checks: 6,
  checks_lost: 3,
  loop_failures: 5,
};

/** What of the configuration concerns one Chrome. @typedef {Pick<import('./config.js').Config, 'chrome' | 'flags' | 'url' | 'memoryBytes'> & {profile: string}} ChromeConfig */

/**
 * Starts Chrome and keeps it running until told to stop.
 *
 * States: `starting`, `running`, `failed` (it ended or did not start; it is tried again), `stopped`.
 */
export class Chrome {
  /** @type {'starting' | 'running' | 'failed' | 'stopped'} */
  state = 'starting';
  detail = 'Chrome was not started yet';
  version = '';
  restarts = 0;
  /** @type {string | null} */
  lastExit = null;
  /** @type {string[]} */
  flags = [];
  /** Chrome's own CDP port on loopback, 0 while it is not running. */
  port = 0;
  /** Ends in a row, none of them steady. */
  failures = 0;
  /** @type {number | null} of Chrome and all that it started, at the last check */
  memoryBytes = null;

  /** @type {import('node:child_process').ChildProcess | null} */
  #process = null;
  #wake = new AbortController();
  #stopping = false;
  #runningSince = 0;
  #checks = 0;
  /** Why it is restarted by us; empty: it is not. */
  #ordered = '';
  #events = new EventEmitter();
  #config;
  #idle;
  #pace;

  /**
   * @param {ChromeConfig} config
   * @param {Partial<Pace>} [pace]
   * @param {(port: number) => Promise<boolean>} [idle] whether Chrome could be restarted without ending a call
   */
  constructor(config, pace = {}, idle = () => Promise.resolve(true)) {
    this.#config = config;
    this.#idle = idle;
    this.#pace = { ...PACE, ...pace };
  }

  get pid() {
    return this.#process?.pid ?? null;
  }

  get profile() {
    return this.#config.profile;
  }

  /** Whether it ended again and again, and has not been up for long since. */
  get crashLoop() {
    const steady = this.state === 'running' && Date.now() - this.#runningSince >= this.#pace.steady_ms;
    return this.failures >= this.#pace.loop_failures && !steady;
  }

  /** Start, watch and restart Chrome until `stop`. */
  async run() {
    while (!this.#stopping) {
      const started = Date.now();
      try {
        await this.#runOnce();
      } catch (error) {
        this.lastExit = error instanceof Error ? error.message : String(error);
      }
      if (this.#stopping) break;
      const ordered = this.#ordered;
      this.#ordered = '';
      const steady = Date.now() - started >= this.#pace.steady_ms;
      this.failures = ordered ? 0 : steady ? 1 : this.failures + 1;
      const pause_ms = Math.min(this.#pace.backoff_min_ms * 2 ** Math.max(this.failures - 1, 0), this.#pace.backoff_max_ms);
      this.restarts += 1;
      this.state = ordered ? 'starting' : 'failed';
      this.detail = ordered || `Chrome ended: ${this.lastExit}; it is started again`;
      if (this.crashLoop) this.detail = `Chrome ended ${this.failures} times in a row: ${this.lastExit}; see the log, it is tried on`;
      log(ordered ? 'info' : 'warning', 'chrome.ended', { last_exit: this.lastExit, next_try_ms: pause_ms });
      if (this.failures === this.#pace.loop_failures) log('error', 'chrome.crash_loop', { failures: this.failures, last_exit: this.lastExit });
      await sleep(ordered ? 0 : pause_ms, undefined, { signal: this.#wake.signal }).catch(() => {});
    }
    await leaveProfile(this.#config.profile);
    this.state = 'stopped';
    this.#events.emit('stopped');
  }

  /**
   * End the running Chrome; `run` starts another one.
   *
   * @param {string} [why] a sentence
   */
  async restart(why = 'Chrome is being restarted as asked') {
    if (!this.#process) return;
    this.#ordered = why;
    this.state = 'starting';
    this.detail = why;
    await this.#end();
  }

  /** End Chrome, at first gently so that the profile is written, and let `run` return. */
  async stop() {
    this.#stopping = true;
    this.#wake.abort();
    await this.#end();
    if (this.state !== 'stopped') {
      await Promise.race([new Promise((resolve) => { this.#events.once('stopped', resolve); }), sleep(2000)]);
    }
  }

  async #runOnce() {
    const { profile, chrome, url, flags } = this.#config;
    this.state = 'starting';
    this.detail = 'Chrome is starting';
    const chromePath = chrome ?? Launcher.getFirstInstallation();
    if (!chromePath) throw new Error('no Chrome is installed; install chromium or set PONTE_HELPER_CHROME');
    await prepareProfile(profile);
    this.flags = await chromeFlags(chromePath, flags);
    if (this.#stopping) return;
    /** @type {Promise<string> | null} */
    let exit = null;
    const launcher = new Launcher(
      {
        chromePath,
        userDataDir: profile,
        chromeFlags: this.flags,
        ignoreDefaultFlags: true,
        startingUrl: url === OPENING_URL ? 'about:blank' : url,
        handleSIGINT: false,
        connectionPollInterval: 50,
        maxConnectionRetries: Math.ceil(this.#pace.start_ms / 50),
        envVars: chromeEnvironment(),
      },
      {
        // In the helper's own process group, so that whoever ends the group ends Chrome too.
        spawn: /** @type {typeof spawn} */ (
          (/** @type {string} */ command, /** @type {string[]} */ args, /** @type {object} */ options) => {
            const child = spawn(command, args, { ...options, detached: false });
            this.#process = child;
            exit = new Promise((resolve) => {
              child.once('error', (error) => { resolve(error.message); });
              child.once('exit', (code, signal) => { resolve(signal ? `killed by ${signal}` : `exit code ${code}`); });
            });
            return child;
          }
        ),
      },
    );
    const launched = launcher.launch().then(() => '');
    try {
      // The launcher goes on polling the port of a Chrome that has ended already, so its end is watched here.
      const early = await Promise.race([launched, untilSet(() => exit)]);
      if (early) throw new Error(`${early} at its start; ${this.#whyEarly()}`);
      const port = launcher.port ?? 0;
      this.version = await askVersion(port, this.#pace.start_ms);
      if (url === OPENING_URL) {
        await offerFirstPage(port, 5000).catch((/** @type {unknown} */ error) => { log('info', 'chrome.first_page_kept', { detail: String(error) }); });
      }
      this.port = port;
      this.state = 'running';
      this.#runningSince = Date.now();
      this.#checks = 0;
      this.detail = this.version;
      log('info', 'chrome.running', { pid: this.pid, version: this.version, restarts: this.restarts });
      const watching = new AbortController();
      const ended = untilSet(() => exit);
      await Promise.race([ended, this.#watch(watching.signal)]).finally(() => { watching.abort(); });
      this.lastExit = await this.#end(ended);
    } catch (error) {
      launched.catch(() => {}); // fails by itself once its polls are used up
      await this.#end(untilSet(() => exit));
      throw error;
    } finally {
      this.port = 0;
      this.#process = null;
      launcher.destroyTmp();
    }
  }

  /** End Chrome at once: the last resort of a helper that has no time left. */
  kill() {
    this.#process?.kill('SIGKILL');
  }

  #whyEarly() {
    if (process.getuid?.() === 0 && !this.flags.includes('--no-sandbox')) {
      return 'Chrome keeps its sandbox on and does not run as root then: run the helper as another user';
    }
    return 'see chrome-err.log in the profile folder';
  }

  /**
   * Return when Chrome runs but no longer answers.
   *
   * @param {AbortSignal} signal
   */
  async #watch(signal) {
    let lost = 0;
    while (lost < this.#pace.checks_lost) {
      try {
        await sleep(this.#pace.check_ms, undefined, { signal });
        await askVersion(this.port, this.#pace.check_timeout_ms);
        lost = 0;
        if (await this.#tooLarge(signal)) return;
      } catch {
        if (signal.aborted) return;
        lost += 1;
      }
    }
    log('warning', 'chrome.hangs', { pid: this.pid });
  }

  /**
   * Look after profile and memory of a Chrome that answers.
   *
   * @param {AbortSignal} signal
   * @returns {Promise<boolean>} whether it has to be restarted, and may be
   */
  async #tooLarge(signal) {
    const { profile, memoryBytes: limit } = this.#config;
    await touchProfile(profile);
    this.#checks += 1;
    if (limit || this.#checks % this.#pace.memory_checks === 1) {
      this.memoryBytes = this.pid === null ? null : await treeBytes(this.pid);
    }
    if (signal.aborted) return false;
    this.detail = this.version;
    if (!limit || (this.memoryBytes ?? 0) <= limit) return false;
    const used = `${Math.round((this.memoryBytes ?? 0) / 2 ** 20)} MB`;
    if (!(await this.#idle(this.port))) {
      this.detail = `Chrome uses ${used}, more than it may, and is restarted once no call runs`;
      return false;
    }
    if (signal.aborted) return false;
    this.#ordered = `Chrome used ${used}, more than it may, and is restarted while no call runs`;
    log('warning', 'chrome.too_large', { memory_bytes: this.memoryBytes, limit_bytes: limit });
    return true;
  }

  /**
   * @param {Promise<string>} [ended]
   * @returns {Promise<string>} how it ended
   */
  async #end(ended) {
    const child = this.#process;
    if (!child) return '';
    const gone = ended ?? new Promise((resolve) => { child.once('exit', () => { resolve('stopped'); }); });
    if (this.port && child.exitCode === null && child.signalCode === null) {
      // At SIGTERM a headless Chrome drops the cookies and storage that it has not written yet; at this it writes them.
      const taken = closeBrowser(this.port, this.#pace.stop_ms / 2).then(() => true, () => false);
      if (await Promise.race([gone.then(() => true), taken])) {
        await Promise.race([gone, sleep(this.#pace.stop_ms, undefined, { ref: false })]);
      }
    }
    for (const [signal, patience_ms] of /** @type {const} */ ([['SIGTERM', this.#pace.stop_ms], ['SIGKILL', 2000]])) {
      if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) break;
      child.kill(signal);
      await Promise.race([gone, sleep(patience_ms, undefined, { ref: false })]);
    }
    return Promise.race([gone, sleep(0).then(() => 'stopped')]);
  }
}

/** Chrome needs no secret of ours, and a page that breaks out of it should find none. */
function chromeEnvironment() {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('PONTE_')));
}

/**
 * Wait for a promise that another callback makes.
 *
 * @param {() => Promise<string> | null} get
 */
async function untilSet(get) {
  for (let promise = get(); ; promise = get()) {
    if (promise) return promise;
    await sleep(10);
  }
}

/**
 * @param {number} port
 * @param {number} timeout_ms
 * @returns {Promise<string>} Chrome's product and version
 */
export async function askVersion(port, timeout_ms) {
  const answer = await getJson(port, '/json/version', timeout_ms);
  return String(/** @type {{Browser?: unknown}} */ (answer).Browser ?? '');
}

/**
 * Ask Chrome's HTTP side.
 *
 * @param {number} port
 * @param {string} path
 * @param {number} timeout_ms
 * @returns {Promise<unknown>}
 */
export function getJson(port, path, timeout_ms) {
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, path, timeout: timeout_ms, agent: false }, (answer) => {
      /** @type {Buffer[]} */
      const parts = [];
      answer.on('data', (part) => parts.push(part));
      answer.once('error', reject);
      answer.once('end', () => {
        try {
          resolve(JSON.parse(Buffer.concat(parts).toString('utf8')));
        } catch (error) {
          reject(error);
        }
      });
    });
    asked.once('timeout', () => asked.destroy(new Error('Chrome did not answer in time')));
    asked.once('error', reject);
    asked.end();
  });
}

/**
 * Ask Chrome to close itself.
 *
 * @param {number} port
 * @param {number} timeout_ms
 * @returns {Promise<void>} when it took the order
 */
async function closeBrowser(port, timeout_ms) {
  const version = /** @type {{webSocketDebuggerUrl?: unknown}} */ (await getJson(port, '/json/version', timeout_ms));
  await command(String(version.webSocketDebuggerUrl), 'Browser.close', {}, timeout_ms);
}

/**
 * Send the first page on to {@link OPENING_URL}, which Chrome does not take on its command line, and wait until it is
 * listed there. A gateway that looks before that opens a page of its own, and takes this one for another gateway's.
 *
 * @param {number} port
 * @param {number} timeout_ms
 */
async function offerFirstPage(port, timeout_ms) {
  const deadline = Date.now() + timeout_ms;
  const asked = new Set();
  while (Date.now() < deadline) {
    const list = await getJson(port, '/json/list', timeout_ms);
    const pages = /** @type {{type?: string, url?: string, webSocketDebuggerUrl?: string}[]} */ (Array.isArray(list) ? list : []).filter((page) => page.type === 'page');
    if (pages.some((page) => page.url === OPENING_URL)) return;
    const first = pages.find((page) => page.url === 'about:blank')?.webSocketDebuggerUrl;
    if (first && !asked.has(first)) {
      asked.add(first);
      await command(first, 'Page.navigate', { url: OPENING_URL }, timeout_ms);
    }
    await sleep(20);
  }
  throw new Error('Chrome listed no first page');
}

/**
 * @param {string} url of a websocket of Chrome's
 * @param {string} method
 * @param {object} params
 * @param {number} timeout_ms
 * @returns {Promise<void>} when Chrome answered, or closed the socket
 */
async function command(url, method, params, timeout_ms) {
  const socket = new WebSocket(url, { handshakeTimeout: timeout_ms });
  await new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.once('close', resolve);
    socket.once('message', resolve);
    socket.once('open', () => { socket.send(JSON.stringify({ id: 1, method, params })); });
    setTimeout(reject, timeout_ms).unref();
  }).finally(() => { socket.terminate(); });
}
