/** The softphone: JsSIP over a WebSocket. A bundle of its own, fetched when somebody first wants to call. */
import { UA, WebSocketInterface } from 'jssip';
import type { EndEvent, IncomingEvent, OutgoingEvent, RTCSession } from 'jssip/lib/RTCSession';
import { Ringer } from './ringer.ts';
import { callFault, microphoneFault, registrationFault, sipUri, type Fault } from './rules.ts';
import { OFF, type Access, type Phone, type PhoneCall, type PhoneState } from './state.ts';

const SECONDS_OF_RING = 60;

interface Answered {
  readonly status_code?: number;
  readonly reason_phrase?: string;
}

const statusOf = (answer: Answered | null | undefined): number | null => answer?.status_code ?? null;
const wordsOf = (answer: Answered | null | undefined): string =>
  answer?.status_code === undefined ? '' : `${answer.status_code} ${answer.reason_phrase ?? ''}`.trim();

/** One registration and at most one call. */
export class Softphone implements Phone {
  readonly #ua: UA;
  readonly #access: Access;
  readonly #tell: (state: PhoneState) => void;
  readonly #speaker = new Audio();
  readonly #ringer = new Ringer();
  #state: PhoneState = { ...OFF, line: 'connecting' };
  #session: RTCSession | null = null;
  #microphone: MediaStream | null = null;
  #stopped = false;

  /**
   * @param access where, and as whom
   * @param tell is given each new state
   */
  constructor(access: Access, tell: (state: PhoneState) => void) {
    this.#access = access;
    this.#tell = tell;
    this.#speaker.autoplay = true;
    this.#ua = new UA({
      sockets: [new WebSocketInterface(access.url)],
      uri: sipUri(access.user, access.url),
      authorization_user: access.user,
      password: access.password,
      register_expires: 300,
      no_answer_timeout: SECONDS_OF_RING,
      user_agent: 'Ponte dashboard',
    });
    this.#follow();
    tell(this.#state);
    this.#ua.start();
  }

  async dial(number: string): Promise<void> {
    if (this.#inCall()) return;
    this.#set({ fault: null, answer: '', call: { party: number, stage: 'calling', since_ms: null, muted: false, held: false } });
    const stream = await this.#listen();
    // hung up while the browser asked for the microphone
    if (stream === null || !this.#inCall()) {
      this.#release();
      return;
    }
    this.#session = this.#ua.call(sipUri(number, this.#access.url), { mediaStream: stream, pcConfig: { iceServers: [] } });
  }

  async answer(): Promise<void> {
    const session = this.#session;
    if (session === null || this.#state.call?.stage !== 'incoming') return;
    this.#ringer.stop();
    const stream = await this.#listen();
    if (stream === null) {
      session.terminate({ status_code: 480 });
      return;
    }
    if (session !== this.#session) {
      this.#release(); // the caller gave up meanwhile
      return;
    }
    session.answer({ mediaStream: stream, pcConfig: { iceServers: [] } });
  }

  hangup(): void {
    if (this.#session === null) this.#over(null, '');
    else if (!this.#session.isEnded()) this.#session.terminate(this.#state.call?.stage === 'incoming' ? { status_code: 603 } : {});
  }

  mute(muted: boolean): void {
    if (muted) this.#session?.mute({ audio: true });
    else this.#session?.unmute({ audio: true });
    this.#change({ muted });
  }

  hold(held: boolean): void {
    if (held) this.#session?.hold();
    else this.#session?.unhold();
  }

  key(digit: string): void {
    // RFC 4733 in the audio, as phones do: JsSIP would send INFO by itself
    this.#session?.sendDTMF(digit, { transportType: 'RFC2833' as never, duration: 160, interToneGap: 100 });
  }

  stop(): void {
    this.#stopped = true;
    this.#ua.stop();
    this.#over(null, '');
    this.#set({ ...OFF });
  }

  #follow(): void {
    const ua = this.#ua;
    ua.on('registered', () => this.#set({ line: 'registered', fault: null, answer: '' }));
    ua.on('registrationFailed', ({ response, cause }) => {
      if (this.#stopped || String(cause) === 'Connection Error') return; // `disconnected` tells of that one
      const answer = response as Answered | null;
      this.#set({ line: 'failed', fault: registrationFault(statusOf(answer)), answer: wordsOf(answer) });
    });
    ua.on('disconnected', ({ error }) => {
      if (!this.#stopped) this.#set({ line: 'waiting', fault: error ? 'no_connection' : null, answer: '' });
    });
    ua.on('newRTCSession', ({ originator, session }: { originator: string; session: RTCSession }) => {
      if (originator !== 'remote') {
        this.#watch(session);
        return;
      }
      if (this.#state.call !== null) {
        session.terminate({ status_code: 486 });
        return;
      }
      const { display_name: name, uri } = session.remote_identity;
      const party = name ? `${name} (${uri.user})` : uri.user;
      this.#session = session;
      this.#set({ fault: null, answer: '', call: { party, stage: 'incoming', since_ms: null, muted: false, held: false } });
      this.#watch(session);
      this.#ringer.ring();
    });
  }

  #watch(session: RTCSession): void {
    const play = (connection: RTCPeerConnection): void =>
      connection.addEventListener('track', ({ track }) => {
        this.#speaker.srcObject = new MediaStream([track]);
      });
    const known = session.connection as RTCPeerConnection | null; // an incoming session has none before it is answered
    if (known !== null) play(known);
    else session.on('peerconnection', ({ peerconnection }) => play(peerconnection));
    const progress = (event: IncomingEvent | OutgoingEvent): void => {
      if (this.#state.call?.stage !== 'calling' || !('response' in event)) return;
      this.#change({ stage: 'ringing' });
      if (!event.response.body) this.#ringer.ringback();
    };
    session.on('progress', progress);
    session.on('accepted', () => {
      this.#ringer.stop();
      this.#change({ stage: 'up', since_ms: Date.now() });
    });
    session.on('hold', () => this.#change({ held: session.isOnHold().local }));
    session.on('unhold', () => this.#change({ held: session.isOnHold().local }));
    const ended = ({ originator, message, cause }: EndEvent): void => {
      if (session !== this.#session && this.#session !== null) return;
      const answer = (message as Answered | null) ?? null;
      this.#over((originator as string) === 'local' && cause !== 'WebRTC Error' ? localFault(cause) : callFault(cause, statusOf(answer)), wordsOf(answer));
    };
    session.on('ended', ended);
    session.on('failed', ended);
  }

  async #listen(): Promise<MediaStream | null> {
    // there is none on a page that came by http:// from another host
    const devices = navigator.mediaDevices as MediaDevices | undefined;
    if (devices === undefined) {
      this.#over('page_insecure', '');
      return null;
    }
    try {
      this.#microphone = await devices.getUserMedia({ audio: true });
      return this.#microphone;
    } catch (error) {
      this.#over(microphoneFault(error instanceof Error ? error.name : ''), '');
      return null;
    }
  }

  #inCall(): boolean {
    return this.#state.call !== null;
  }

  #release(): void {
    for (const track of this.#microphone?.getTracks() ?? []) track.stop();
    this.#microphone = null;
  }

  #over(fault: Fault | null, answer: string): void {
    this.#ringer.stop();
    this.#release();
    this.#speaker.srcObject = null;
    this.#session = null;
    // what went wrong first (no microphone) is what is to be mended
    this.#set({ call: null, ...(this.#state.call === null ? {} : { fault, answer }) });
  }

  #change(change: Partial<PhoneCall>): void {
    if (this.#state.call !== null) this.#set({ call: { ...this.#state.call, ...change } });
  }

  #set(change: Partial<PhoneState>): void {
    this.#state = { ...this.#state, ...change };
    this.#tell(this.#state);
  }
}

/** Our own hanging up is no fault; our own failing is. */
function localFault(cause: string): Fault | null {
  return cause === 'User Denied Media Access' ? 'microphone_denied' : callFault(cause, null) === 'no_connection' ? 'no_connection' : null;
}
