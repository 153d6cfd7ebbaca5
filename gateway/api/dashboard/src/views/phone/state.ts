/** What the softphone shows of itself. */
import type { Fault } from './rules.ts';

/** `off`: not asked for; `registered`: can call and is rung; `waiting`: the connection is gone and tried again. */
export type Line = 'off' | 'connecting' | 'registered' | 'waiting' | 'failed';

/** `calling`: sent; `ringing`: the other side rings; `incoming`: we are rung. */
export type CallStage = 'calling' | 'ringing' | 'incoming' | 'up';

export interface PhoneCall {
  readonly party: string;
  readonly stage: CallStage;
  /** `Date.now()` at the answer. */
  readonly since_ms: number | null;
  readonly muted: boolean;
  readonly held: boolean;
}

export interface PhoneState {
  readonly line: Line;
  readonly call: PhoneCall | null;
  /** Why the line or the last call is not what was wanted. */
  readonly fault: Fault | null;
  /** The final answer's status and words that came with the fault, where there were any. */
  readonly answer: string;
}

export const OFF: PhoneState = { line: 'off', call: null, fault: null, answer: '' };

/** What the page needs to call. */
export interface Access {
  readonly url: string;
  readonly user: string;
  readonly password: string;
}

/** What can be done with the phone. */
export interface Phone {
  dial(number: string): Promise<void>;
  answer(): Promise<void>;
  hangup(): void;
  mute(muted: boolean): void;
  hold(held: boolean): void;
  key(digit: string): void;
  stop(): void;
}
