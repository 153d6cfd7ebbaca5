/**
 * The right to start a worker in a page that enforces Trusted Types.
 *
 * Such a page names the policies it allows, and each only once, so that there is none for us to make. What the page makes
 * for its own scripts trusts our script's very address as well. Whatever else is asked of that policy, the page's own rule
 * answers; a policy without a rule for scripts stays as it is.
 */

import type { Log } from '../events.ts';
import { NATIVE, patchMethod } from './patch.ts';

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
      const theirs = (rules as Rules | null | undefined)?.createScriptURL;
      if (typeof theirs !== 'function') return NATIVE;
      const policy = native([name, this.widened(rules as Rules, theirs), ...rest]) as Policy;
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

  private widened(rules: Rules, theirs: MakeScriptUrl): object {
    const createScriptURL: MakeScriptUrl = (text, ...rest) => (text === this.url ? text : theirs(text, ...rest));
    // The other rules are found on the prototype, wherever the page has them.
    return Object.create(rules, { createScriptURL: { value: createScriptURL } }) as object;
  }
}
