/** One stream of events for all views. It resumes after a cut, and says when something was missed for good. */
import type { EventData, EventType } from './api.gen.ts';
import { Api, ApiError } from './api.ts';
import { SseParser } from './sse.ts';

export interface PonteEvent<T extends EventType = EventType> {
  id: string;
  type: T;
  timestamp: string;
  data: EventData[T];
}

/** An event of any type, told apart by `type`. */
export type AnyEvent = { [T in EventType]: PonteEvent<T> }[EventType];

/** `connecting` before the first answer; `live`; `waiting` between two tries. */
export type StreamState = 'connecting' | 'live' | 'waiting';

export interface Listener {
  /** An event. */
  onEvent?: ((event: AnyEvent) => void) | undefined;
  /** The stream came up, for the first time or again with events lost in between: look at everything anew. */
  onFresh?: (() => void) | undefined;
  onState?: ((state: StreamState) => void) | undefined;
}

const SILENT_MS = 40_000; // the gateway says something every 15 s
const LONGEST_PAUSE_MS = 30_000;

export class EventStream {
  state: StreamState = 'connecting';
  private readonly listeners = new Set<Listener>();
  private readonly stopped = new AbortController();
  private last: string | null = null;

  constructor(private readonly api: Api) {}

  /** Begins to listen to the gateway; `close` ends it. */
  start(): void {
    void this.run();
  }

  close(): void {
    this.stopped.abort();
    this.listeners.clear();
  }

  /** Returns what ends the subscription. */
  subscribe(listener: Listener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private async run(): Promise<void> {
    let pauseMs = 1000;
    const stopped = () => this.stopped.signal.aborted;
    while (!stopped()) {
      try {
        await this.follow(() => (pauseMs = 1000));
      } catch (error) {
        if (error instanceof ApiError && (error.status === 401 || error.status === 403)) return;
        if (error instanceof ApiError && error.retryAfterS) pauseMs = Math.max(pauseMs, error.retryAfterS * 1000);
      }
      if (stopped()) return;
      this.become('waiting');
      await pause(pauseMs * (0.8 + Math.random() * 0.4), this.stopped.signal);
      pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
    }
  }

  private async follow(onUp: () => void): Promise<void> {
    const silence = new AbortController();
    const signal = AbortSignal.any([this.stopped.signal, silence.signal]);
    let timer = setTimeout(() => silence.abort(), SILENT_MS);
    try {
      const resumed = this.last !== null;
      const headers: Record<string, string> = { Accept: 'text/event-stream' };
      if (this.last !== null) headers['Last-Event-ID'] = this.last;
      const body = await this.api.stream('/events', { headers, signal });
      onUp();
      this.become('live');
      if (!resumed) this.fresh();
      const parser = new SseParser();
      const text = new TextDecoder();
      const reader = body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENT_MS);
        for (const told of parser.push(text.decode(value, { stream: true }))) this.take(told.id, told.type, told.data);
      }
    } finally {
      clearTimeout(timer);
    }
  }

  private take(id: string | null, type: string, data: string): void {
    if (type === 'gap') {
      this.fresh();
      return;
    }
    if (id) this.last = id;
    const event = JSON.parse(data) as AnyEvent;
    for (const listener of [...this.listeners]) listener.onEvent?.(event);
  }

  private fresh(): void {
    for (const listener of [...this.listeners]) listener.onFresh?.();
  }

  private become(state: StreamState): void {
    if (state === this.state) return;
    this.state = state;
    for (const listener of [...this.listeners]) listener.onState?.(state);
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}
