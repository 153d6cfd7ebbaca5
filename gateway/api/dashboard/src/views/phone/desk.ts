/** Where the softphone lives while a person walks from view to view: a call outlasts them, but not the signing out. */
import { OFF, type Access, type Phone, type PhoneState } from './state.ts';

export class PhoneDesk {
  state: PhoneState = OFF;
  #phone: Phone | null = null;
  #turn = 0;
  readonly #listeners = new Set<(state: PhoneState) => void>();

  /** What is to be done with the phone; null while there is none. */
  get phone(): Phone | null {
    return this.#phone;
  }

  /** Returns what ends the subscription. */
  subscribe(listener: (state: PhoneState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async connect(access: Access): Promise<void> {
    this.close();
    const turn = this.#turn;
    this.#tell({ ...OFF, line: 'connecting' });
    try {
      const { Softphone } = await import('./engine.ts');
      if (turn === this.#turn) {
        this.#phone = new Softphone(access, (state) => {
          if (turn === this.#turn) this.#tell(state);
        });
      }
    } catch {
      if (turn === this.#turn) this.#tell({ ...OFF, line: 'failed', fault: 'not_loaded' });
    }
  }

  close(): void {
    this.#turn += 1;
    this.#phone?.stop();
    this.#phone = null;
    this.#tell(OFF);
  }

  #tell(state: PhoneState): void {
    this.state = state;
    for (const listener of [...this.#listeners]) listener(state);
  }
}
