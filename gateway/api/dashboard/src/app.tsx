/** What every view can reach: the API, the events, and how to load what it shows. */
import { type ComponentType, createContext } from 'preact';
import { useCallback, useContext, useEffect, useRef, useState } from 'preact/hooks';
import type { EventType } from './api.gen.ts';
import { Api, ApiError } from './api.ts';
import { type AnyEvent, EventStream, type StreamState } from './events.ts';
import type { PlainKey } from './i18n/index.tsx';
import type { Who } from './session.ts';
import type { PhoneDesk } from './views/phone/desk.ts';

export interface ViewProps {
  parameters: Record<string, string>;
  query: URLSearchParams;
}

/** One view: `views/index.ts` lists them, in the order of the navigation. */
export interface View {
  /** Pattern of the hash, for example `/calls/:id`. */
  path: string;
  /** Title of the page, and the word of the navigation. */
  title: PlainKey;
  /** Whether the navigation has it; a path with parameters cannot be there. */
  inNavigation: boolean;
  /** Path of the view in the navigation that this one belongs to. */
  under?: string;
  /** Whose key shows it. */
  who: Who;
  component: ComponentType<ViewProps>;
}

export interface App {
  api: Api;
  /** null for an admin key, which has no events. */
  events: EventStream | null;
  /** The softphone, which outlasts its view; null for an admin key. */
  phone: PhoneDesk | null;
  who: Who;
  signOut: () => void;
}

export const AppContext = createContext<App | null>(null);

export function useApp(): App {
  const app = useContext(AppContext);
  if (!app) throw new Error('useApp outside of a signed-in page');
  return app;
}

/** Calls *onEvent* for events of these types (none: of all), and *onFresh* when everything may have changed. */
export function useEvents(types: readonly EventType[], onEvent: (event: AnyEvent) => void, onFresh?: () => void): void {
  const { events } = useApp();
  const now = useRef({ types, onEvent, onFresh });
  now.current = { types, onEvent, onFresh };
  useEffect(
    () =>
      events?.subscribe({
        onEvent(event) {
          const wanted = now.current.types;
          if (!wanted.length || wanted.includes(event.type)) now.current.onEvent(event);
        },
        onFresh: () => now.current.onFresh?.(),
      }),
    [events],
  );
}

export function useStreamState(): StreamState {
  const { events } = useApp();
  const [state, setState] = useState<StreamState>(events?.state ?? 'live');
  useEffect(() => events?.subscribe({ onState: setState }), [events]);
  return state;
}

export interface Loaded<T> {
  /** What came last; kept while it is loaded anew. */
  data: T | null;
  error: ApiError | null;
  loading: boolean;
  reload: () => void;
  /** Shows what is known already, for example from the answer of a change. */
  set: (data: T) => void;
}

/** Loads when *dependencies* change and on `reload`; an answer that was overtaken is dropped. */
export function useLoad<T>(load: (signal: AbortSignal) => Promise<T>, dependencies: readonly unknown[]): Loaded<T> {
  const [state, setState] = useState<{ data: T | null; error: ApiError | null; loading: boolean }>({
    data: null,
    error: null,
    loading: true,
  });
  const [turn, setTurn] = useState(0);
  const running = useRef<AbortController | null>(null);
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    const abort = new AbortController();
    running.current = abort;
    setState((before) => ({ ...before, loading: true }));
    latest.current(abort.signal).then(
      (data) => {
        if (!abort.signal.aborted) setState({ data, error: null, loading: false });
      },
      (error: unknown) => {
        if (!abort.signal.aborted) setState((before) => ({ ...before, error: asApiError(error), loading: false }));
      },
    );
    return () => abort.abort();
  }, [turn, ...dependencies]);
  const reload = useCallback(() => setTurn((count) => count + 1), []);
  const set = useCallback((data: T) => {
    running.current?.abort();
    setState({ data, error: null, loading: false });
  }, []);
  return { ...state, reload, set };
}

export interface Action<A extends unknown[]> {
  run: (...given: A) => Promise<void>;
  busy: boolean;
  error: ApiError | null;
  clear: () => void;
}

/** Something that a person asks for: one at a time, and what goes wrong is shown. */
export function useAction<A extends unknown[]>(act: (...given: A) => Promise<void>): Action<A> {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError | null>(null);
  const started = useRef(false);
  const run = async (...given: A) => {
    if (started.current) return;
    started.current = true;
    setBusy(true);
    setError(null);
    try {
      await act(...given);
    } catch (fault) {
      setError(asApiError(fault));
    } finally {
      started.current = false;
      setBusy(false);
    }
  };
  return { run, busy, error, clear: () => setError(null) };
}

/** Calls *tick* every *everyMs*, but not while the tab is hidden; then once when it is seen again. */
export function useTicker(tick: () => void, everyMs: number): void {
  const latest = useRef(tick);
  latest.current = tick;
  useEffect(() => {
    const timer = setInterval(() => {
      if (!document.hidden) latest.current();
    }, everyMs);
    const seen = () => {
      if (!document.hidden) latest.current();
    };
    document.addEventListener('visibilitychange', seen);
    return () => {
      clearInterval(timer);
      document.removeEventListener('visibilitychange', seen);
    };
  }, [everyMs]);
}

export function asApiError(fault: unknown): ApiError {
  return fault instanceof ApiError ? fault : new ApiError(0, 'fault', String(fault));
}

/** A view whose code is fetched when it is first shown. */
export function lazyView(load: () => Promise<ComponentType<ViewProps>>): ComponentType<ViewProps> {
  let loaded: ComponentType<ViewProps> | null = null;
  return function Lazy(props: ViewProps) {
    const [, setReady] = useState(loaded !== null);
    useEffect(() => {
      if (loaded) return;
      let here = true;
      void load().then((component) => {
        loaded = component;
        if (here) setReady(true);
      });
      return () => {
        here = false;
      };
    }, []);
    const View = loaded;
    return View ? <View {...props} /> : null;
  };
}
