/**
 * Ends the calls of a gateway that is gone: it may have been killed, and then nobody else hangs up.
 *
 * A gateway renews its mark in the document while it lives (docs/ARCHITECTURE.md, 5). One that is restarted, or whose
 * network comes back, sees to its calls itself, and usually sooner than this.
 */

import type { Log } from '../events.ts';
import { logFault } from '../events.ts';
import type { Calls } from './calls.ts';

const LOOK_MS = 1000;
/** A page that stood still finds the mark old before the renewals that wait behind it: it looks again. */
const LOOKS = 3;

const OWNER = Symbol.for('ponte.owner');

export class Orphans {
  private stale = 0;
  private ending = false;

  /**
   * @param scope the document's globals, where the gateway's mark is.
   * @param leaseMs for how long a mark holds that is not renewed.
   */
  constructor(
    private readonly scope: object,
    private readonly calls: Pick<Calls, 'inUse' | 'endOurs'>,
    private readonly leaseMs: number,
    private readonly now: () => number,
    private readonly log: Log,
  ) {}

  start(): void {
    setInterval(() => {
      void this.look();
    }, LOOK_MS);
  }

  async look(): Promise<void> {
    if (!this.calls.inUse || this.owned()) {
      this.stale = 0;
      return;
    }
    this.stale += 1;
    if (this.stale < LOOKS || this.ending) return;
    this.ending = true;
    try {
      this.log('warning', 'the gateway of a call is gone, so the call is ended');
      await this.calls.endOurs();
    } catch (fault) {
      logFault(this.log, 'a call whose gateway is gone could not be ended', fault);
    } finally {
      this.ending = false;
    }
  }

  private owned(): boolean {
    const mark = Reflect.get(this.scope, OWNER) as { readonly at?: unknown } | undefined;
    return typeof mark?.at === 'number' && this.now() - mark.at <= this.leaseMs;
  }
}
