/** The page's state, told whenever it changes. */

import type { Emit, Log } from '../events.ts';
import { logFault } from '../events.ts';
import type { Probe } from './probe.ts';

const LOOK_LOADING_MS = 250;
const LOOK_SETTLED_MS = 1000;

export class Session {
  private last = '';

  constructor(
    private readonly look: () => Probe,
    private readonly emit: Emit,
    private readonly log: Log,
  ) {}

  start(): void {
    this.tick();
  }

  private readonly tick = (): void => {
    let pause = LOOK_SETTLED_MS;
    try {
      const { state, detail, can } = this.look();
      const now = JSON.stringify([state, detail, can]);
      if (now !== this.last) {
        this.last = now;
        this.emit({ type: 'page.state', state, detail, can });
      }
      if (state === 'LOADING') pause = LOOK_LOADING_MS;
    } catch (fault) {
      logFault(this.log, 'the state of WhatsApp Web could not be read', fault);
    }
    setTimeout(this.tick, pause);
  };
}
