import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ScriptUrl } from '../src/hooks/script-url.ts';
import { quiet } from './dom.ts';

type Rules = Record<string, ((text: string) => string) | undefined>;

/** The factory as a browser has it: a rule is read once, when the policy is made. */
function browser(allowed: string) {
  class TrustedTypePolicyFactory {
    createPolicy(name: string, rules: Rules = {}) {
      if (name !== allowed) throw new TypeError(`${name} is not allowed`);
      const { createScriptURL, createHTML } = rules;
      const use = (rule: ((text: string) => string) | undefined) => (text: string) => {
        if (rule === undefined) throw new TypeError('no such rule');
        return { trusted: rule(text) };
      };
      return { name, createScriptURL: use(createScriptURL), createHTML: use(createHTML) };
    }
  }
  return { TrustedTypePolicyFactory, factory: new TrustedTypePolicyFactory() };
}

const URL = '/__ponte/abc/worklet.js';
const theirs: Rules = {
  createScriptURL: (text) => {
    if (!text.startsWith('/static/')) throw new TypeError(`not ours: ${text}`);
    return `https://site${text}`;
  },
  createHTML: (text) => `<${text}>`,
};

describe('the address of a script of ours', () => {
  it("is trusted by the page's own policy, which stays as it is for all else", () => {
    const window = browser('boot');
    const url = new ScriptUrl(URL);
    url.install(window, quiet);
    assert.equal(url.get(), null);
    const policy = window.factory.createPolicy('boot', theirs);
    assert.deepEqual(url.get(), { trusted: URL });
    assert.deepEqual(policy.createScriptURL('/static/a.js'), { trusted: 'https://site/static/a.js' });
    assert.deepEqual(policy.createHTML('b'), { trusted: '<b>' });
    assert.throws(() => policy.createScriptURL('/__ponte/abd/worklet.js'), /not ours/);
  });

  it('gives a policy that is not for scripts no rule for them', () => {
    const window = browser('boot');
    const url = new ScriptUrl(URL);
    url.install(window, quiet);
    for (const rules of [undefined, { createHTML: (text: string) => text }]) {
      const policy = window.factory.createPolicy('boot', rules);
      assert.throws(() => policy.createScriptURL(URL), /no such rule/);
      assert.equal(url.get(), null);
    }
  });

  it("leaves the browser's refusal of a policy to the page", () => {
    const window = browser('boot');
    const url = new ScriptUrl(URL);
    url.install(window, quiet);
    assert.throws(() => window.factory.createPolicy('other', theirs), /not allowed/);
    assert.equal(url.get(), null);
  });

  it('is a text where there are no Trusted Types', () => {
    const url = new ScriptUrl(URL);
    url.install({}, quiet);
    assert.equal(url.get(), URL);
  });
});
