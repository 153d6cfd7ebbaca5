import { mkdir, readFile, readlink, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { log } from './log.js';

const LOCKS = ['SingletonLock', 'SingletonCookie', 'SingletonSocket'];
const RECORD = 'ponte-helper.json';

/** A helper touches its record this often at least; three times that long is a sign that it is gone. */
const FRESH_MS = 30_000;

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
 * @returns {Promise<string>} when it started, in ticks since boot: with it a pid names one process for good
 */
async function startOf(pid) {
  const line = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return line.slice(line.lastIndexOf(')') + 2).split(' ')[19] ?? '';
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
 * @param {string} profile
 * @returns {Promise<{host: string, pid: number, start: string, age_ms: number} | null>} the last helper of this profile
 */
async function readRecord(profile) {
  const file = path.join(profile, RECORD);
  try {
    const { host, pid, start } = JSON.parse(await readFile(file, 'utf8'));
    return { host: String(host), pid: Number(pid), start: String(start), age_ms: Date.now() - (await stat(file)).mtimeMs };
  } catch {
    return null;
  }
}

/** Say that this helper still uses the profile. @param {string} profile */
export async function touchProfile(profile) {
  await utimes(path.join(profile, RECORD), new Date(), new Date()).catch(() => {});
}

/** Say that the profile is free. @param {string} profile */
export async function leaveProfile(profile) {
  const record = await readRecord(profile);
  if (record?.pid === process.pid && record.host === hostname()) await rm(path.join(profile, RECORD), { force: true });
}

/**
 * Make the profile ready for a new Chrome: the folder exists, a Chrome that outlived an earlier helper is ended, and the
 * locks of one that is gone are removed. A lock names host and pid; in a container both change at every start, and
 * Chrome would refuse the profile as "in use on another computer".
 *
 * @param {string} profile
 * @param {number} [patience_ms] for the old Chrome to write its profile
 * @throws {Error} somebody who is alive uses the profile
 */
export async function prepareProfile(profile, patience_ms = 5000) {
  await mkdir(profile, { recursive: true, mode: 0o700 });
  const record = await readRecord(profile);
  const here = record?.host === hostname();
  if (record && here && record.pid !== process.pid && alive(record.pid) && (await startOf(record.pid)) === record.start) {
    throw new Error(`the profile is used by another helper (process ${record.pid}): end that, or give this one another profile`);
  }
  if (record && !here && record.age_ms < FRESH_MS) {
    throw new Error(`the profile was used on ${record.host} ${Math.round(record.age_ms / 1000)} s ago: it is taken once that is quiet`);
  }
  const lock = await readlink(path.join(profile, 'SingletonLock')).catch(() => '');
  const [, host = '', digits = ''] = /^(.*)-(\d+)$/.exec(lock) ?? [];
  const pid = Number(digits);
  if (host === hostname() && pid > 1 && alive(pid) && (await usesProfile(pid, profile))) {
    // Without a record of a helper it is a person's own Chrome.
    if (!record) throw new Error(`the profile is used by a Chrome of somebody's own (process ${pid}): close it, or give another profile`);
    log('warning', 'profile.orphan_ended', { pid });
    process.kill(pid, 'SIGTERM');
    const deadline = Date.now() + patience_ms;
    while (alive(pid) && Date.now() < deadline) await sleep(50);
    if (alive(pid)) process.kill(pid, 'SIGKILL');
  }
  if (lock) log('info', 'profile.lock_removed');
  await Promise.all([...LOCKS, 'DevToolsActivePort'].map((name) => rm(path.join(profile, name), { force: true })));
  const own = { host: hostname(), pid: process.pid, start: await startOf(process.pid) };
  await writeFile(path.join(profile, RECORD), JSON.stringify(own), { mode: 0o600 });
}
