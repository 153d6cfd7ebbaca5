/**
 * The right to start a worker in a page that enforces Trusted Types.
 *
 * Such a page names the policies it allows, and each only once, so that there is none for us to make. What the page makes
 * for its own scripts is made with one more rule instead: our script's very address is one of them. Whatever the page
 * itself asks of its policy, it gets the page's own answer.
 */

import type { Log } from '../events.ts';
import { patchMethod } from './patch.ts';

type MakeScriptUrl = (text: string, ...rest: unknown[]) => unknown;

interface Rules {
  readonly createScriptURL?: MakeScriptUrl | null;
}

interface Policy {
  createScriptURL(text: string): unknown;
}

interface PolicyWindow {
  readonly TrustedTypePolicyFactory?: { readonly prototype: object };
}

export class ScriptUrl {
  private policy: Policy | null = null;
  private needed = false;

  constructor(private readonly url: string) {}

  install(window: PolicyWindow, log: Log): void {
    const factory = window.TrustedTypePolicyFactory;
    if (factory === undefined) return;
    this.needed = true;
    patchMethod(factory.prototype, 'createPolicy', log, (_self, [name, rules, ...rest], native) => {
      const policy = native([name, this.widened(rules), ...rest]) as Policy;
      this.policy ??= policy;
      return policy;
    });
  }

  /**
   * What a worker of ours is made with, or null while there is nothing. A text would do where Trusted Types are not
   * enforced; where they are, trying it is reported to the site.
   */
  get(): unknown {
    if (!this.needed) return this.url;
    return this.policy?.createScriptURL(this.url) ?? null;
  }

  private widened(rules: unknown): object {
    const { url } = this;
    const given = (rules ?? {}) as Rules;
    const theirs = given.createScriptURL;
    const createScriptURL: MakeScriptUrl = (text, ...rest) => {
      if (text === url) return url;
      // As the browser says it of a policy that was made without this rule.
      if (typeof theirs !== 'function') throw new TypeError("Policy's TrustedTypePolicyOptions did not specify a rule");
      return theirs(text, ...rest);
    };
    return Object.create(given, { createScriptURL: { value: createScriptURL } }) as object;
  }
}
