/**
 * Windows that the page opens beside itself. They have prototypes and a navigator of their own, which the page reaches as
 * soon as it has the window: only the call that opens it comes before that.
 */

import type { Log } from '../events.ts';
import { observeMethod } from './patch.ts';

interface PopoutWindow {
  readonly open: unknown;
  readonly DocumentPictureInPicture?: { readonly prototype: object };
}

/** @param hook given each new window of the page's own origin; it may be given one twice. */
export function installPopouts(window: PopoutWindow, hook: (popout: object) => void, log: Log): void {
  const opened = (popout: unknown): void => {
    if (typeof popout !== 'object' || popout === null) return;
    try {
      if (typeof (popout as { location: { origin: string } }).location.origin !== 'string') return;
    } catch {
      return; // of another origin, whose objects are out of reach
    }
    hook(popout);
  };
  observeMethod(window, 'open', log, (_self, _args, popout) => {
    opened(popout);
  });
  const pictures = window.DocumentPictureInPicture?.prototype;
  if (pictures === undefined) return;
  observeMethod(pictures, 'requestWindow', log, (_self, _args, asked) => {
    // Before the page's own: it was given the promise after us.
    (asked as Promise<unknown>).then(opened, () => undefined);
  });
}
