/** The page's state, told whenever it changes. */

import type { Emit } from '../events.ts';
import type { Probe } from './probe.ts';

const LOOK_LOADING_MS = 250;
const LOOK_SETTLED_MS = 1000;

export class Session {
  private last = '';

  constructor(
    private readonly look: () => Probe,
    private readonly emit: Emit,
  ) {}

  start(): void {
    this.tick();
  }

  private readonly tick = (): void => {
    const { state, detail } = this.look();
    const now = `${state} ${detail}`;
    if (now !== this.last) {
      this.last = now;
      this.emit({ type: 'page.state', state, detail });
    }
    setTimeout(this.tick, state === 'LOADING' ? LOOK_LOADING_MS : LOOK_SETTLED_MS);
  };
}
