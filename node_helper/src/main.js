#!/usr/bin/env node
import { ConfigError, readConfig } from './config.js';
import { startHelper } from './helper.js';
import { log } from './log.js';

const STOP_LIMIT_MS = 9000; // Docker kills after 10 s

/** @param {unknown} error */
function say(error) {
  const code = /** @type {NodeJS.ErrnoException & {port?: number}} */ (error).code;
  const port = /** @type {{port?: number}} */ (error).port;
  if (code === 'EADDRINUSE') return `Port ${port} is already in use: end what uses it, or set another PONTE_HELPER_PORT or PONTE_HELPER_CDP_PORT`;
  if (code === 'EADDRNOTAVAIL') return 'PONTE_HELPER_HOST or PONTE_HELPER_CDP_HOST is not an address of this machine';
  return error instanceof Error ? error.message : String(error);
}

try {
  const config = readConfig(process.env);
  const helper = await startHelper(config);
  let stopping = false;

  /** @param {string} why */
  const stop = (why) => {
    if (stopping) return;
    stopping = true;
    log('info', 'helper.stopping', { why });
    setTimeout(() => {
      helper.kill();
      process.exit(1);
    }, STOP_LIMIT_MS).unref();
    helper.stop().then(() => process.exit(0), () => process.exit(1));
  };
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => { stop(signal); });
  if (process.argv.includes('--with-parent')) {
    // The pipe closes when the parent ends, however it ends.
    process.stdin.on('end', () => { stop('parent gone'); });
    process.stdin.on('error', () => { stop('parent gone'); });
    process.stdin.resume();
  }
  const { port, cdpPort: cdp_port, profiles } = helper;
  process.stdout.write(`${JSON.stringify({ event: 'ready', port, cdp_port, profiles })}\n`);
} catch (error) {
  log('error', 'helper.not_started', { detail: say(error) });
  process.exit(error instanceof ConfigError ? 2 : 1);
}
