/** What the gateway leaves in the page before this bundle runs (docs/ARCHITECTURE.md, 8.2). */

/** Must equal MEDIA_ABI_VERSION in media/include/abi.h; build.py refuses to build otherwise. */
export const ABI = 1;

export interface PonteConfig {
  /** The gateway's idea of the ABI. */
  readonly abi: number;
  readonly driver: string;
  /** media.wasm in base64. */
  readonly wasm: string;
  readonly workletUrl: string;
  /** Name of the CDP binding that takes events. */
  readonly binding: string;
  /** A gateway that did not renew its mark for so long is gone. */
  readonly leaseMs: number;
}

const LEASE_MS = 20_000;

/** Check what was left; throws a TypeError that names the first fault. */
export function parseConfig(value: unknown): PonteConfig {
  if (typeof value !== 'object' || value === null) throw new TypeError('__ponteConfig is missing');
  const { abi, driver, wasm, workletUrl, binding, leaseMs } = value as Record<string, unknown>;
  if (abi !== ABI) throw new TypeError(`__ponteConfig.abi is ${String(abi)}, this bundle speaks ${ABI}`);
  const text = (name: string, field: unknown): string => {
    if (typeof field !== 'string' || field === '') throw new TypeError(`__ponteConfig.${name} is not a text`);
    return field;
  };
  return {
    abi,
    driver: text('driver', driver),
    wasm: text('wasm', wasm),
    workletUrl: text('workletUrl', workletUrl),
    binding: text('binding', binding),
    leaseMs: typeof leaseMs === 'number' && leaseMs > 0 ? leaseMs : LEASE_MS,
  };
}

/** Decode base64 without fetch(), which the page's CSP may stop. */
export function bytesOfBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}
