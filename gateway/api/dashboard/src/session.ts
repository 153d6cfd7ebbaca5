/** Who is signed in. The key lives in this tab's sessionStorage and nowhere else: it goes with the tab. */
const KEY = 'ponte.key';

export type Who = 'account' | 'admin';

export interface SignedIn {
  key: string;
  who: Who;
}

export function load(): SignedIn | null {
  try {
    const found = JSON.parse(sessionStorage.getItem(KEY) ?? 'null') as { key?: unknown; who?: unknown } | null;
    if (typeof found?.key !== 'string' || (found.who !== 'account' && found.who !== 'admin')) return null;
    return { key: found.key, who: found.who };
  } catch {
    return null;
  }
}

export function store(signedIn: SignedIn | null): void {
  if (signedIn) sessionStorage.setItem(KEY, JSON.stringify(signedIn));
  else sessionStorage.removeItem(KEY);
}
