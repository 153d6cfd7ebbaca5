/** The gateway's HTTP API, as a signed-in person uses it. The key goes nowhere but into the Authorization header. */
import type { FaultView, ProblemView } from './api.gen.ts';

const TIMEOUT_MS = 20_000;

/** What the gateway refused, or that it could not be reached (`status` 0, code `unreachable` or `timeout`). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
    /** Faults by field, where the request is to blame. */
    readonly errors: readonly FaultView[] = [],
    /** The state that is to blame, where one is. */
    readonly state: string | null = null,
    readonly retryAfterS: number | null = null,
  ) {
    super(detail);
    this.name = 'ApiError';
  }
}

export type Query = Record<string, string | number | boolean | null | undefined>;

export interface Options {
  query?: Query;
  signal?: AbortSignal | undefined;
  timeoutMs?: number;
  headers?: Record<string, string>;
}

type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE';

export class Api {
  constructor(
    private readonly key: string,
    /** Called once a request is answered 401: the key is good no more. */
    private readonly onRefused: () => void = () => undefined,
  ) {}

  get<T>(path: string, options: Options = {}): Promise<T> {
    return this.json<T>('GET', path, undefined, options);
  }

  post<T>(path: string, body?: unknown, options: Options = {}): Promise<T> {
    return this.json<T>('POST', path, body, options);
  }

  patch<T>(path: string, body: unknown, options: Options = {}): Promise<T> {
    return this.json<T>('PATCH', path, body, options);
  }

  async delete(path: string, options: Options = {}): Promise<void> {
    await this.send('DELETE', path, undefined, options);
  }

  /** Gives a file that needs the key, a recording for example; the caller revokes the URLs it makes of it. */
  async blob(path: string, options: Options = {}): Promise<Blob> {
    return (await this.send('GET', path, undefined, { timeoutMs: 120_000, ...options })).blob();
  }

  /** Begins a request whose answer has no end; *signal* ends it. */
  async stream(path: string, options: Options & { signal: AbortSignal }): Promise<ReadableStream<Uint8Array>> {
    const answer = await this.send('GET', path, undefined, { ...options, timeoutMs: 0 });
    if (!answer.body) throw new ApiError(answer.status, 'no_body', 'The answer has no body');
    return answer.body;
  }

  /** The subprotocols of a WebSocket that carry the key, which browsers cannot put into a header there. */
  subprotocols(): string[] {
    return ['ponte.events', `ponte.bearer.${this.key}`];
  }

  private async json<T>(method: Method, path: string, body: unknown, options: Options): Promise<T> {
    const answer = await this.send(method, path, body, options);
    return (answer.status === 204 ? null : await answer.json()) as T;
  }

  private async send(method: Method, path: string, body: unknown, options: Options): Promise<Response> {
    const limit = options.timeoutMs ?? TIMEOUT_MS;
    const signals = [options.signal, limit ? AbortSignal.timeout(limit) : undefined].filter((one) => one !== undefined);
    const headers: Record<string, string> = {
      Accept: 'application/json',
      Authorization: `Bearer ${this.key}`,
      ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
      ...options.headers,
    };
    let answer: Response;
    try {
      answer = await fetch(path + queryText(options.query), {
        method,
        headers,
        cache: 'no-store',
        credentials: 'omit',
        redirect: 'error',
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        ...(signals.length ? { signal: AbortSignal.any(signals) } : {}),
      });
    } catch (error) {
      if (options.signal?.aborted) throw error;
      const late = error instanceof DOMException && error.name === 'TimeoutError';
      throw new ApiError(0, late ? 'timeout' : 'unreachable', String(error));
    }
    if (answer.ok) return answer;
    if (answer.status === 401) this.onRefused();
    throw await problem(answer);
  }
}

async function problem(answer: Response): Promise<ApiError> {
  const retry = Number(answer.headers.get('Retry-After') ?? '');
  const told = (await answer.json().catch(() => null)) as Partial<ProblemView> | null;
  return new ApiError(
    answer.status,
    told?.code ?? 'http_error',
    told?.detail ?? answer.statusText,
    told?.errors ?? [],
    told?.state ?? null,
    retry > 0 ? retry : null,
  );
}

function queryText(query: Query = {}): string {
  const text = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== '') text.set(name, String(value));
  }
  return text.size ? `?${text.toString()}` : '';
}
