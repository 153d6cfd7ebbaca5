import { mkdir, readFile, readlink, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { log } from './log.js';

const LOCKS = ['SingletonLock', 'SingletonCookie', 'SingletonSocket'];

/** @param {number} pid */
function alive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === 'EPERM';
  }
}

/**
 * @param {number} pid
 * @param {string} profile
 * @returns {Promise<boolean>} whether that process is a Chrome with this very profile, and not a stranger with its pid
 */
async function usesProfile(pid, profile) {
  const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return line.split('\0').includes(`--user-data-dir=${profile}`);
}

/**
 * Make the profile ready for a new Chrome: the folder exists, a Chrome that outlived an earlier helper is ended, and the
 * locks of one that is gone are removed. A lock names host and pid; in a container both change at every start, and
 * Chrome would refuse the profile as "in use on another computer".
 *
 * @param {string} profile
 * @param {number} [patience_ms] for the old Chrome to write its profile
 */
export async function prepareProfile(profile, patience_ms = 5000) {
  await mkdir(profile, { recursive: true, mode: 0o700 });
  const lock = await readlink(path.join(profile, 'SingletonLock')).catch(() => '');
  const [, host = '', digits = ''] = /^(.*)-(\d+)$/.exec(lock) ?? [];
  const pid = Number(digits);
  if (host === hostname() && pid > 1 && alive(pid) && (await usesProfile(pid, profile))) {
    log('warning', 'profile.orphan_ended', { pid });
    process.kill(pid, 'SIGTERM');
    const deadline = Date.now() + patience_ms;
    while (alive(pid) && Date.now() < deadline) await sleep(50);
    if (alive(pid)) process.kill(pid, 'SIGKILL');
  }
  if (lock) log('info', 'profile.lock_removed');
  await Promise.all([...LOCKS, 'DevToolsActivePort'].map((name) => rm(path.join(profile, name), { force: true })));
}
