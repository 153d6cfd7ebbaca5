import { execFile } from 'node:child_process';
import { statfs } from 'node:fs/promises';
import { promisify } from 'node:util';

/**
 * Ours instead of chrome-launcher's: its list mutes audio (`--mute-audio`), turns extensions and field trials about and
 * switches off the setuid sandbox. Neither list ever has `--disable-web-security`: it removes the cross-origin
 * isolation that WhatsApp calling needs. The sandbox stays on; `PONTE_HELPER_FLAGS=--no-sandbox` is the operator's.
 */
const FLAGS = [
  '--headless=new',
  '--window-size=1280,900', // WhatsApp Web hides half of itself in the 800x600 of headless
  '--no-first-run',
  '--no-default-browser-check',
  '--disable-default-apps',
  // No traffic of Chrome's own
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--disable-breakpad',
  '--disable-domain-reliability',
  '--metrics-recording-only',
  '--disable-features=Translate,MediaRouter,OptimizationHints,AutofillServerCommunication',
  // Processes that nobody needs, of 50 MB in all: the address bar's pop-ups as pages of their own, a renderer in reserve
  '--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup,SpareRendererForSitePerProcess',
  // A page that nobody looks at must work like one that somebody does
  '--disable-background-timer-throttling',
  '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding',
  '--disable-hang-monitor',
  '--disable-prompt-on-repost',
  // There is no keyring on a server; without this Chrome waits for one
  '--password-store=basic',
  // NetEq, Chrome's jitter buffer, is most of the delay towards WhatsApp. By default one stall of 250 ms leaves it at
  // 300 ms for more than 9 s; so it follows the 80th percentile and forgets faster, at no loss up to 60 ms of jitter.
  '--force-fieldtrials=WebRTC-Audio-NetEqDelayManagerConfig/' +
    'quantile:0.8,forget_factor:0.9,resample_interval_ms:100,use_reorder_optimizer:false/',
  // On a machine with nothing but loopback, ICE finds no candidate otherwise and gathering never completes
  '--allow-loopback-in-peer-connection',
  // What a profile has been told may leave WebRTC no UDP, and then no call has sound. A policy of the machine's
  // (WebRtcIPHandling) is stronger; the page's probe tells of it.
  '--webrtc-ip-handling-policy=default',
];

const SMALL_SHM_BYTES = 512 * 1024 * 1024; // Docker gives 64 MB, of which a page of WhatsApp Web crashes

/**
 * @param {string} chrome path
 * @param {string[]} extra the operator's flags; the last of two equal ones counts
 * @returns {Promise<string[]>}
 */
export async function chromeFlags(chrome, extra) {
  const flags = [...FLAGS];
  const shm = await statfs('/dev/shm').catch(() => null);
  if (shm === null || shm.blocks * shm.bsize < SMALL_SHM_BYTES) flags.push('--disable-dev-shm-usage');
  // The user agent of headless Chrome says so, and WhatsApp Web turns unknown browsers away.
  const major = await majorVersion(chrome);
  if (major && process.platform === 'linux' && !extra.some((flag) => flag.startsWith('--user-agent='))) {
    const system = 'X11; Linux x86_64';
    flags.push(
      `--user-agent=Mozilla/5.0 (${system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${major}.0.0.0 Safari/537.36`,
    );
  }
  return mergeFeatures([...flags, ...extra]);
}

/**
 * Chrome takes only the last `--disable-features` (and `--enable-features`): join them.
 *
 * @param {string[]} flags
 */
export function mergeFeatures(flags) {
  /** @type {Map<string, string[]>} */
  const lists = new Map();
  const others = flags.filter((flag) => {
    const [, name = '', value = ''] = /^(--(?:dis|en)able-features)=(.*)$/.exec(flag) ?? [];
    if (!name) return true;
    lists.set(name, [...(lists.get(name) ?? []), value]);
    return false;
  });
  return [...others, ...[...lists].map(([name, values]) => `${name}=${values.join(',')}`)];
}

/** @param {string} chrome */
async function majorVersion(chrome) {
  try {
    const { stdout } = await promisify(execFile)(chrome, ['--version'], { timeout: 10_000 });
    return /\b(\d+)\.\d+\.\d+\.\d+/.exec(stdout)?.[1] ?? '';
  } catch {
    return '';
  }
}
