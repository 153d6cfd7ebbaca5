// The page that the tests open: `await webphone.open(kind, options)`, then `webphone.phone`.
import { JsSipPhone } from './jssip_phone.js';
import { SipJsPhone } from './sipjs_phone.js';
import { Sound } from './sound.js';

globalThis.webphone = {
  sound: new Sound(),
  phone: null,
  async open(kind, options) {
    this.phone = new { jssip: JsSipPhone, sipjs: SipJsPhone }[kind](this.sound, options);
    await this.phone.start();
  },
};
