// A JsSIP phone that a test drives: commands are functions, what happens is written down in `events`.
import JsSIP from 'jssip';

export class JsSipPhone {
  constructor(sound, { url, uri, password, user, register, hz, dbfs }) {
    this.sound = sound;
    this.tone = [hz, dbfs];
    this.events = [];
    this.session = null;
    this.ua = new JsSIP.UA({
      sockets: [new JsSIP.WebSocketInterface(url)],
      uri,
      authorization_user: user,
      password,
      register,
      session_timers: true,
      register_expires: 120,
    });
    for (const name of ['connected', 'registered', 'unregistered', 'registrationFailed'])
      this.ua.on(name, (event) => this.note(name, event?.response?.status_code, event?.cause));
    this.ua.on('newRTCSession', ({ originator, session }) => this.follow(originator, session));
  }

  note(name, ...details) {
    this.events.push([name, ...details.map((detail) => detail ?? null)]);
  }

  follow(originator, session) {
    if (originator === 'remote') {
      this.session = session;
      this.note('ringing', session.remote_identity.uri.user, session.remote_identity.display_name);
    }
    for (const name of ['progress', 'accepted', 'confirmed', 'hold', 'unhold', 'reinvite'])
      session.on(name, (event) => this.note(name, event?.response?.status_code));
    for (const name of ['ended', 'failed'])
      session.on(name, ({ originator: by, message, cause }) =>
        this.note(name, by, message?.status_code, cause, message?.getHeader?.('Reason')));
    const watch = (connection) => connection.addEventListener('track', ({ track }) => this.sound.listen(track));
    if (session.connection) watch(session.connection);
    else session.on('peerconnection', ({ peerconnection }) => watch(peerconnection));
  }

  start() {
    this.ua.start();
  }

  stop() {
    this.ua.stop();
  }

  async dial(target, video = false) {
    const mediaStream = await this.sound.tone(...this.tone);
    if (video) for (const track of document.createElement('canvas').captureStream(5).getTracks()) mediaStream.addTrack(track);
    this.session = this.ua.call(target, { mediaStream, pcConfig: { iceServers: [] } });
  }

  /** Kind of each m-line of the answer, and whether it was taken. */
  answered() {
    const { sdp } = this.session.connection.remoteDescription;
    return [...sdp.matchAll(/^m=(\w+) (\d+)/gm)].map(([, kind, port]) => [kind, port !== '0']);
  }

  async answer() {
    this.session.answer({ mediaStream: await this.sound.tone(...this.tone), pcConfig: { iceServers: [] } });
  }

  hangup() {
    this.session.terminate();
  }

  hold() {
    return new Promise((done) => this.session.hold({}, () => done(true)) || done(false));
  }

  unhold() {
    return new Promise((done) => this.session.unhold({}, () => done(true)) || done(false));
  }

  /** A re-INVITE that restarts ICE. */
  restartIce() {
    return new Promise((done) => this.session.renegotiate({ rtcOfferConstraints: { iceRestart: true } }, () => done(true)));
  }

  dtmf(digit, transportType) {
    this.session.sendDTMF(digit, { transportType, duration: 120, interToneGap: 200 });
  }

  /** The codec that is received, as the browser names it. */
  async codec() {
    const stats = await this.session.connection.getStats();
    const { codecId } = [...stats.values()].find((one) => one.type === 'inbound-rtp');
    return stats.get(codecId).mimeType;
  }
}
