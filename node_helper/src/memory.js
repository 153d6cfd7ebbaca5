import { readdir, readFile } from 'node:fs/promises';

/**
 * The memory of a process and of all that it started, shared pages counted once (PSS).
 *
 * @param {number} root process id
 * @returns {Promise<number | null>} bytes; null where the system does not tell
 */
export async function treeBytes(root) {
  const names = await readdir('/proc').catch(() => []);
  /** @type {Map<number, number[]>} */
  const children = new Map();
  await Promise.all(
    names.filter((name) => /^\d+$/.test(name)).map(async (name) => {
      const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '');
      // The name in brackets may hold anything; what follows the last bracket is state and parent.
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      if (parent > 0) children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
    }),
  );
  let bytes = 0;
  let found = false;
  const open = [root];
  for (let pid = open.pop(); pid !== undefined; pid = open.pop()) {
    open.push(...(children.get(pid) ?? []));
    const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
    const kilobytes = /^Pss: +(\d+) kB$/m.exec(rollup)?.[1];
    if (kilobytes === undefined) continue;
    bytes += Number(kilobytes) * 1024;
    found = true;
  }
  return found ? bytes : null;
}
