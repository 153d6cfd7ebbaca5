/** Media elements the page plays: remembered, so that a ring tone left looping can be stopped. */

import type { Log } from '../events.ts';
import { observeMethod } from './patch.ts';

interface ElementsDocument {
  querySelectorAll(selector: string): Iterable<unknown>;
}

interface ElementsWindow {
  readonly HTMLMediaElement: { readonly prototype: object };
  readonly document: ElementsDocument;
}

export class MediaElements {
  private played: { element: WeakRef<HTMLMediaElement>; at: number }[] = [];
  private readonly own = new WeakSet<object>();
  private documents: WeakRef<ElementsDocument>[] = [];

  constructor(private readonly now: () => number) {}

  install(window: ElementsWindow, log: Log): void {
    this.documents = this.documents.filter((reference) => reference.deref() !== undefined);
    this.documents.push(new WeakRef(window.document));
    observeMethod(window.HTMLMediaElement.prototype, 'play', log, (self) => {
      this.remember(self as HTMLMediaElement);
    });
  }

  /** Remember as well what is given a stream, and may play by itself without being in a document. */
  watchStreams(window: Pick<ElementsWindow, 'HTMLMediaElement'>): void {
    const prototype = window.HTMLMediaElement.prototype;
    const descriptor = Object.getOwnPropertyDescriptor(prototype, 'srcObject');
    // eslint-disable-next-line @typescript-eslint/unbound-method -- called with the element as `this` below
    const native = descriptor?.set;
    if (native === undefined || descriptor?.configurable !== true) return;
    const remember = (element: HTMLMediaElement): void => {
      this.remember(element);
    };
    Object.defineProperty(prototype, 'srcObject', {
      ...descriptor,
      set(this: HTMLMediaElement, value: unknown) {
        native.call(this, value);
        remember(this);
      },
    });
  }

  /** What can be heard now, by whatever way it was started. */
  playing(): HTMLMediaElement[] {
    const found = new Set<HTMLMediaElement>();
    for (const entry of this.played) {
      const element = entry.element.deref();
      if (element !== undefined) found.add(element);
    }
    for (const reference of this.documents) {
      for (const element of reference.deref()?.querySelectorAll('audio, video') ?? []) found.add(element as HTMLMediaElement);
    }
    return [...found].filter(
      (element) => !this.own.has(element) && !element.paused && !element.muted && element.volume > 0,
    );
  }

  /** Remember those that play already. */
  adopt(elements: readonly HTMLMediaElement[]): number {
    const playing = elements.filter((element) => !element.paused && !this.own.has(element));
    for (const element of playing) this.remember(element);
    return playing.length;
  }

  private remember(element: HTMLMediaElement): void {
    if (this.own.has(element)) return;
    this.played = this.played.filter((entry) => {
      const known = entry.element.deref();
      return known !== undefined && known !== element;
    });
    this.played.push({ element: new WeakRef(element), at: this.now() });
  }

  /** Keep an element of ours out of this. */
  exempt(element: HTMLMediaElement): void {
    this.own.add(element);
  }

  /** Pause what loops and began at or after `since`; returns how many that were. */
  stopLoops(since: number): number {
    const loops = new Set<HTMLMediaElement>();
    for (const entry of this.played) {
      const element = entry.element.deref();
      if (element !== undefined && entry.at >= since) loops.add(element);
    }
    // Those that began by themselves (autoplay) never called play().
    for (const reference of this.documents) {
      for (const element of reference.deref()?.querySelectorAll('audio[autoplay], video[autoplay]') ?? []) {
        loops.add(element as HTMLMediaElement);
      }
    }
    let stopped = 0;
    for (const element of loops) {
      if (!element.loop || element.paused || this.own.has(element)) continue;
      element.pause();
      stopped += 1;
    }
    return stopped;
  }
}
