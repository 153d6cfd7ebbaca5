/** Server-Sent Events out of any pieces of text (WHATWG HTML, section 9.2.6). */

export interface Told {
  id: string | null;
  type: string;
  data: string;
}

export class SseParser {
  private rest = '';
  private data: string[] = [];
  private type = '';
  private id: string | null = null;
  /** Milliseconds that the server asks a client to wait before it comes again; null: it did not. */
  retryMs: number | null = null;

  /** Takes a piece of the stream and gives the events that it ended. */
  push(text: string): Told[] {
    const told: Told[] = [];
    const lines = (this.rest + text).split(/\r\n|\n|\r(?!$)/);
    this.rest = lines.pop() ?? '';
    for (const line of lines) {
      const event = this.line(line);
      if (event) told.push(event);
    }
    return told;
  }

  private line(line: string): Told | null {
    if (line === '') return this.dispatch();
    const colon = line.indexOf(':');
    if (colon === 0) return null;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    if (field === 'data') this.data.push(value);
    else if (field === 'event') this.type = value;
    else if (field === 'id') this.id = value.includes('\0') ? this.id : value;
    else if (field === 'retry' && /^[0-9]+$/.test(value)) this.retryMs = Number(value);
    return null;
  }

  private dispatch(): Told | null {
    const event = { id: this.id, type: this.type || 'message', data: this.data.join('\n') };
    const empty = this.data.length === 0;
    this.data = [];
    this.type = '';
    return empty ? null : event;
  }
}
