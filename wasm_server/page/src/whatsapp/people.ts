/** Who is on the other side: jid, phone number, name. */

import type { Bindings, CallModel, Wid } from './bindings.ts';

/** The jid of a user or its LID, without the device part. */
export function jidOf(peer: Wid | string | null | undefined): string {
  return textOf(peer)
    .replace(/(\.\d+)?(:\d+)?@/, '@')
    .replace(/@s\.whatsapp\.net$/, '@c.us');
}

/** A Wid has a text of its own; what was copied, or came from another window, has only its fields. */
function textOf(peer: Wid | string | null | undefined): string {
  if (peer === null || peer === undefined) return '';
  if (typeof peer === 'string') return peer;
  const text = peer.toString({ legacy: true });
  if (text.includes('@')) return text;
  const { _serialized: serialized, user, server } = peer;
  if (typeof serialized === 'string') return serialized;
  return typeof user === 'string' && typeof server === 'string' ? `${user}@${server}` : '';
}

/** The digits of a phone jid; null for a LID, which hides the number. */
export function phoneOfJid(jid: string): string | null {
  const match = /^(\d{5,20})@c\.us$/.exec(jid);
  return match?.[1] ?? null;
}

/** How long an announcement may wait for the number behind a LID: the offer may come before the mapping. */
const LOOKUP_TIMEOUT_MS = 500;
const LOOKUP_AGAIN_MS = 50;

/** The gateway takes no longer ones, and a call must not be lost for that. */
const NAME_LENGTH = 200;

export class People {
  constructor(private readonly bindings: Bindings) {}

  async phone(model: CallModel | undefined, jid: string): Promise<string | null> {
    const direct = phoneOfJid(jid);
    if (direct !== null || jid === '') return direct;
    const { bindings } = this;
    const peer = model?.peerJid;
    // A Wid of WhatsApp's own has methods, which its caches ask for.
    const wid =
      typeof peer === 'object' && typeof peer.isLid === 'function' ? peer : (bindings.wid(jid) ?? peer);
    const deadline = Date.now() + LOOKUP_TIMEOUT_MS;
    const asked = this.ask(jid);
    for (;;) {
      const phone = wid === undefined ? null : this.cached(wid);
      if (phone !== null) return phone;
      const answer = await Promise.race([asked, pause(LOOKUP_AGAIN_MS)]);
      if (answer !== null) return answer;
      if (Date.now() > deadline) return null;
    }
  }

  private cached(wid: Wid): string | null {
    const { bindings } = this;
    for (const cache of ['lidPnCache', 'ApiContact'] as const) {
      const known = bindings.attempt(() => bindings.whatsapp?.[cache]?.getPhoneNumber?.(wid));
      const phone = known === null || known === undefined ? null : phoneOfJid(jidOf(known));
      if (phone !== null) return phone;
    }
    return null;
  }

  private async ask(jid: string): Promise<string | null> {
    const answer = await this.bindings.attempt(() => this.bindings.wpp?.contact?.getPnLidEntry?.(jid))?.catch(() => null);
    const digits = answer?.phoneNumber?.id;
    return digits !== undefined && /^\d{5,20}$/.test(digits) ? digits : null;
  }

  /** The name in the address book, else the one its owner chose. */
  name(jid: string, phone: string | null): string | null {
    const jids = phone === null ? [jid] : [jid, `${phone}@c.us`];
    for (const id of jids) {
      const { bindings } = this;
      const store = bindings.attempt(() => bindings.whatsapp?.ContactStore);
      // wa-js looks contacts up by Wid; the collection takes its text as well.
      const contact =
        bindings.attempt(() => store?.get?.(bindings.wid(id) ?? id)) ?? bindings.attempt(() => store?.get?.(id));
      const names = [contact?.name, contact?.verifiedName, contact?.pushname, contact?.notifyName, contact?.displayName];
      for (const name of names) {
        // The last one may be the number, written nicely.
        if (typeof name === 'string' && /[^\d\s+()~.-]/.test(name)) return name.trim().slice(0, NAME_LENGTH);
      }
    }
    return null;
  }
}

const pause = (ms: number): Promise<null> => new Promise((resolve) => setTimeout(resolve, ms, null));
