/** How a method of the platform is replaced so that a fault of ours never becomes a fault of the page's. */

import type { Log } from '../events.ts';
import { logFault } from '../events.ts';

export type Method = (this: unknown, ...args: unknown[]) => unknown;

/** Return this from a replacement to have the native method do the work. */
export const NATIVE: unique symbol = Symbol('native');

/**
 * Replace a method. The replacement answers itself or returns NATIVE; when it throws, the native method runs.
 *
 * Faults that the page is meant to see come from the native method, which the replacement may call through `native`:
 * what that throws is passed on and not taken for ours.
 */
export function patchMethod(
  owner: object,
  name: string,
  log: Log,
  replacement: (self: object, args: readonly unknown[], native: (args?: readonly unknown[]) => unknown) => unknown,
): Method | null {
  const descriptor = Object.getOwnPropertyDescriptor(owner, name);
  const native = descriptor?.value as Method | undefined;
  if (typeof native !== 'function' || descriptor?.configurable === false) {
    log('warning', `${name} is not there to be replaced`);
    return null;
  }
  const patched = {
    [name](this: object, ...args: unknown[]): unknown {
      let nativeFault: { fault: unknown } | null = null;
      const callNative = (others: readonly unknown[] = args): unknown => {
        try {
          return native.apply(this, [...others]);
        } catch (fault) {
          nativeFault = { fault };
          throw fault;
        }
      };
      let answer: unknown;
      try {
        answer = replacement(this, args, callNative);
      } catch (fault) {
        // TypeScript does not see the assignment inside the closure.
        const thrown = nativeFault as { fault: unknown } | null;
        if (thrown !== null) throw thrown.fault;
        logFault(log, name, fault);
        return native.apply(this, args);
      }
      return answer === NATIVE ? native.apply(this, args) : answer;
    },
  }[name];
  Object.defineProperty(owner, name, { ...descriptor, value: patched });
  return native;
}

/**
 * Do something after a native method, which has its own result or fault. A fault of ours is logged and forgotten.
 */
export function observeMethod(
  owner: object,
  name: string,
  log: Log,
  after: (self: object, args: readonly unknown[], result: unknown) => void,
): Method | null {
  return patchMethod(owner, name, log, (self, args, native) => {
    const result = native();
    try {
      after(self, args, result);
    } catch (fault) {
      logFault(log, name, fault);
    }
    return result;
  });
}

/** Replace a constructor by a proxy: statics, prototype and `extends` stay as they were. */
export function patchConstructor(
  owner: object,
  name: string,
  log: Log,
  construct: (args: readonly unknown[], native: (args?: readonly unknown[]) => object, newTarget: object) => object,
): void {
  const descriptor = Object.getOwnPropertyDescriptor(owner, name);
  const native = descriptor?.value as (abstract new (...args: unknown[]) => object) | undefined;
  if (typeof native !== 'function' || descriptor?.configurable === false) {
    log('warning', `${name} is not there to be replaced`);
    return;
  }
  const proxy = new Proxy(native, {
    construct(target, args: unknown[], newTarget) {
      let made: { object: object } | { fault: unknown } | null = null;
      const callNative = (others: readonly unknown[] = args): object => {
        try {
          const object = Reflect.construct(target, others as unknown[], newTarget) as object;
          made = { object };
          return object;
        } catch (fault) {
          made = { fault };
          throw fault;
        }
      };
      try {
        return construct(args, callNative, newTarget);
      } catch (fault) {
        const earlier = made as { object: object } | { fault: unknown } | null;
        if (earlier !== null) {
          if ('fault' in earlier) throw earlier.fault;
          logFault(log, name, fault);
          return earlier.object;
        }
        logFault(log, name, fault);
        return Reflect.construct(target, args, newTarget) as object;
      }
    },
  });
  Object.defineProperty(owner, name, { ...descriptor, value: proxy });
  // What the page reaches through an instance must be what it reaches by name.
  const prototype = native.prototype as object;
  const back = Object.getOwnPropertyDescriptor(prototype, 'constructor');
  if (back?.configurable === true) Object.defineProperty(prototype, 'constructor', { ...back, value: proxy });
}
