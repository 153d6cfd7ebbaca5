/** Who is on the other side: jid, phone number, name. */

import type { Bindings, CallModel, Wid } from './bindings.ts';

/** The jid of a user or its LID, without the device part. */
export function jidOf(peer: Wid | string | null | undefined): string {
  if (peer === null || peer === undefined) return '';
  const text = typeof peer === 'string' ? peer : peer.toString({ legacy: true });
  return text.replace(/:\d+@/, '@').replace(/@s\.whatsapp\.net$/, '@c.us');
}

/** The digits of a phone jid; null for a LID, which hides the number. */
export function phoneOfJid(jid: string): string | null {
  const match = /^(\d{5,20})@c\.us$/.exec(jid);
  return match?.[1] ?? null;
}

/** How long an announcement may wait for the number behind a LID. */
const LOOKUP_TIMEOUT_MS = 500;

export class People {
  constructor(private readonly bindings: Bindings) {}

  async phone(model: CallModel | undefined, jid: string): Promise<string | null> {
    const direct = phoneOfJid(jid);
    if (direct !== null) return direct;
    const { bindings } = this;
    const peer = model?.peerJid;
    if (typeof peer === 'object') {
      for (const cache of ['lidPnCache', 'ApiContact'] as const) {
        const known = bindings.attempt(() => bindings.whatsapp?.[cache]?.getPhoneNumber?.(peer));
        const phone = known === null || known === undefined ? null : phoneOfJid(jidOf(known));
        if (phone !== null) return phone;
      }
    }
    const lookup = bindings.attempt(() => bindings.wpp?.contact?.getPnLidEntry?.(jid));
    if (lookup === undefined) return null;
    const answer = await Promise.race([
      lookup.catch(() => null),
      new Promise<null>((resolve) => setTimeout(resolve, LOOKUP_TIMEOUT_MS, null)),
    ]);
    const digits = answer?.phoneNumber?.id;
    return digits !== undefined && /^\d{5,20}$/.test(digits) ? digits : null;
  }

  /** The name in the address book, else the one its owner chose. */
  name(jid: string, phone: string | null): string | null {
    const jids = phone === null ? [jid] : [jid, `${phone}@c.us`];
    for (const id of jids) {
      const contact = this.bindings.attempt(() => this.bindings.whatsapp?.ContactStore?.get?.(id));
      for (const name of [contact?.name, contact?.verifiedName, contact?.pushname, contact?.notifyName]) {
        if (typeof name === 'string' && name.trim() !== '') return name.trim();
      }
    }
    return null;
  }
}
