// The same phone by SIP.js.
import { Inviter, Registerer, SessionState, UserAgent, Web } from 'sip.js';

export class SipJsPhone {
  constructor(sound, { url, uri, password, user, register, hz, dbfs }) {
    this.sound = sound;
    this.events = [];
    this.session = null;
    this.wantsRegistration = register;
    this.agent = new UserAgent({
      uri: UserAgent.makeURI(uri),
      transportOptions: { server: url },
      authorizationUsername: user,
      authorizationPassword: password,
      logBuiltinEnabled: false,
      // the library's own way to put something else in the place of the microphone
      sessionDescriptionHandlerFactory: Web.defaultSessionDescriptionHandlerFactory(() => sound.tone(hz, dbfs)),
      sessionDescriptionHandlerFactoryOptions: { iceGatheringTimeout: 500, peerConnectionConfiguration: { iceServers: [] } },
      delegate: { onInvite: (invitation) => this.follow(invitation, true) },
    });
  }

  note(name, ...details) {
    this.events.push([name, ...details.map((detail) => detail ?? null)]);
  }

  follow(session, incoming) {
    this.session = session;
    session.delegate = {
      onSessionDescriptionHandler: (handler) => {
        handler.peerConnectionDelegate = { ontrack: ({ track }) => this.sound.listen(track) };
      },
    };
    if (incoming) this.note('ringing', session.remoteIdentity.uri.user, session.remoteIdentity.displayName);
    session.stateChange.addListener((state) => {
      if (state === SessionState.Established) this.note('confirmed');
      if (state === SessionState.Terminated) this.note('ended');
    });
  }

  async start() {
    await this.agent.start();
    this.note('connected');
    if (!this.wantsRegistration) return;
    const registerer = new Registerer(this.agent, { expires: 120 });
    registerer.stateChange.addListener((state) => this.note(state.toLowerCase()));
    await registerer.register();
  }

  stop() {
    return this.agent.stop();
  }

  async dial(target) {
    this.follow(new Inviter(this.agent, UserAgent.makeURI(target)), false);
    await this.session.invite({
      requestDelegate: { onReject: (response) => this.note('failed', 'remote', response.message.statusCode) },
    });
  }

  answer() {
    return this.session.accept();
  }

  hangup() {
    return this.session.state === SessionState.Established ? this.session.bye() : this.session.cancel();
  }
}
