/** Linking this page to a phone: the QR code, the code to type, logging out, taking over from another page. */

import { PonteError, describe } from '../errors.ts';
import type { Emit, Log } from '../events.ts';
import { logFault } from '../events.ts';
import { type Bindings, missing } from './bindings.ts';

/** A net under wa-js's event. */
const LOOK_MS = 1000;
/** WhatsApp stops making codes after some minutes, until somebody asks. */
const REFRESH_TIMEOUT_MS = 10_000;
const CODE_TIMEOUT_MS = 30_000;
const LOGOUT_TIMEOUT_MS = 20_000;
const TAKEOVER_TIMEOUT_MS = 10_000;

export class Pairing {
  private code: string | null = null;
  private heard = false;
  private reading = false;

  constructor(
    private readonly bindings: Bindings,
    private readonly emit: Emit,
    private readonly log: Log,
  ) {}

  start(): void {
    void this.look();
    setTimeout(() => {
      this.start();
    }, LOOK_MS);
  }

  /** The text of the QR code; null where there is none now. */
  async qr(): Promise<{ code: string | null }> {
    this.requireLoggedOut();
    await this.look();
    if (this.code === null && this.bindings.attempt(() => this.bindings.wpp?.conn?.isIdle?.()) === true) {
      const refresh = this.bindings.attempt(() => this.bindings.wpp?.conn?.refreshQR?.());
      await bounded(Promise.resolve(refresh), REFRESH_TIMEOUT_MS, 'WhatsApp made no new QR code').catch((fault: unknown) => {
        logFault(this.log, 'the QR code could not be refreshed', fault);
      });
      await this.look();
    }
    return { code: this.code };
  }

  /** The code that a person types into the phone under "link with phone number". */
  async linkCode(phone: unknown): Promise<{ code: string }> {
    if (typeof phone !== 'string' || !/^\d{5,20}$/.test(phone)) {
      throw new PonteError('bad_argument', 'the number must be digits with the country code and no +');
    }
    this.requireLoggedOut();
    const { conn, whatsapp } = this.bindings.wpp ?? {};
    if (conn === undefined || this.bindings.functions?.genLinkDeviceCodeForPhoneNumber === undefined) {
      throw missing('genLinkDeviceCodeForPhoneNumber');
    }
    // The managed way makes a new code when the old one runs out; it hears of that by events that a build may not have.
    const managed = this.bindings.attempt(() => whatsapp?.LinkDeviceEvents) !== undefined;
    const work = managed
      ? conn.startLinkDeviceCodeForPhoneNumber?.(phone)
      : conn.genLinkDeviceCodeForPhoneNumber?.(phone, true);
    const code = await bounded(Promise.resolve(work), CODE_TIMEOUT_MS, 'WhatsApp gave no code');
    if (typeof code !== 'string' || code === '') throw new PonteError('call_failed', 'WhatsApp gave no code');
    return { code };
  }

  /** Unlink this page from the phone. */
  async logout(): Promise<null> {
    if (this.bindings.authenticated !== true) throw new PonteError('not_ready', 'nobody is logged in');
    const { conn } = this.bindings.wpp ?? {};
    if (typeof conn?.logout !== 'function') throw missing('conn.logout');
    await bounded(Promise.resolve(conn.logout()), LOGOUT_TIMEOUT_MS, 'WhatsApp did not log out');
    return null;
  }

  /** "Use here", when the account is open in another page. */
  async takeover(): Promise<null> {
    if (this.bindings.stream.mode !== 'CONFLICT') {
      throw new PonteError('not_ready', 'WhatsApp Web is not open in another place');
    }
    const socket = this.bindings.attempt(() => this.bindings.whatsapp?.Socket);
    if (typeof socket?.takeover !== 'function') throw missing('Socket.takeover');
    await bounded(Promise.resolve(socket.takeover()), TAKEOVER_TIMEOUT_MS, 'WhatsApp did not take over');
    return null;
  }

  private requireLoggedOut(): void {
    const { authenticated } = this.bindings;
    if (authenticated === undefined) throw new PonteError('not_ready', 'WhatsApp Web is still loading');
    if (authenticated) throw new PonteError('not_at_login', 'a phone is linked already');
  }

  private readonly look = async (): Promise<void> => {
    if (this.reading || !this.bindings.injected) return;
    this.reading = true;
    try {
      if (!this.heard) {
        this.heard = true;
        this.bindings.attempt(() => this.bindings.wpp?.on?.('conn.auth_code_change', () => void this.look()));
        this.bindings.attempt(() =>
          this.bindings.wpp?.on?.('conn.link_code_change', (code) => {
            if (typeof code === 'string') this.emit({ type: 'session.code', code });
          }),
        );
      }
      const code = this.bindings.authenticated === false ? await this.read() : null;
      if (code === this.code) return;
      this.code = code;
      this.emit({ type: 'session.qr', code });
    } finally {
      this.reading = false;
    }
  };

  private async read(): Promise<string | null> {
    try {
      const code = await this.bindings.wpp?.conn?.getAuthCode?.();
      return typeof code?.fullCode === 'string' && code.fullCode !== '' ? code.fullCode : null;
    } catch (fault) {
      this.log('warning', `the QR code could not be read: ${describe(fault)}`);
      return null;
    }
  }
}

function bounded<Value>(work: Promise<Value>, ms: number, sentence: string): Promise<Value> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new PonteError('timeout', sentence));
    }, ms);
  });
  return Promise.race([work, late]).finally(() => {
    clearTimeout(timer);
  });
}
