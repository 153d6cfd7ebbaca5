/** The configuration form without its looks: what of it is sent. */
import type { BridgeConfigView, BridgeFields } from '../../api.gen.ts';

export const MASK = '***'; // stands for a stored secret in every answer

export type FieldName = Exclude<keyof BridgeConfigView, 'enabled'>;
export type Values = Record<FieldName, string>;

export interface Form {
  enabled: boolean;
  values: Values;
  /** Secrets that are stored and are to be removed. */
  removed: ReadonlySet<FieldName>;
}

export const SECRETS: ReadonlySet<FieldName> = new Set(['sipPass', 'sipListenSecret'] as const);
const PORTS: ReadonlySet<FieldName> = new Set(['sipListenPort', 'wasmServerPort'] as const);
export const FIELDS: readonly FieldName[] = [
  'sipServer',
  'sipUser',
  'sipPass',
  'sipExtension',
  'sipListenPort',
  'sipListenUser',
  'sipListenSecret',
  'chromeRemoteURL',
  'nodeRemoteHelper',
  'wasmServerIP',
  'wasmServerPort',
];

/** A secret that is stored is shown as an empty field: what it is cannot be known, and what is typed replaces it. */
export function formOf(stored: BridgeConfigView): Form {
  const values = Object.fromEntries(
    FIELDS.map((name) => [name, SECRETS.has(name) ? '' : String(stored[name] ?? '')]),
  ) as Values;
  return { enabled: stored.enabled, values, removed: new Set() };
}

/** The fields that differ from what is stored, as the API takes them; `enabled` is always there. */
export function changes(stored: BridgeConfigView, form: Form): BridgeFields {
  const before = formOf(stored).values;
  const changed: Partial<Record<FieldName, string | number>> = {};
  for (const name of FIELDS) {
    const value = form.values[name];
    if (form.removed.has(name) && !value) changed[name] = '';
    else if (value !== before[name]) changed[name] = PORTS.has(name) && /^[0-9]{1,6}$/.test(value) ? Number(value) : value;
  }
  return { enabled: form.enabled, ...changed } as BridgeFields; // a port that is no number is the gateway's to refuse
}

/** Whether anything differs from what is stored. */
export function isChanged(stored: BridgeConfigView, form: Form): boolean {
  return form.enabled !== stored.enabled || Object.keys(changes(stored, form)).length > 1;
}
