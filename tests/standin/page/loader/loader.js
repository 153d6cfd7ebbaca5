// The page's module loader: `__d` defines, `require` and `importNamespace` run a factory at its first use.
// A factory is called with (global, require, importDefault, importNamespace, requireLazy, module, exports), then its
// dependencies are taken by name from inside, so that a module whose dependency has not been loaded yet throws only
// when it is used. That is how the real page's modules behave towards a library that walks over all of them.
(function (global) {
  "use strict";

  const modulesMap = Object.create(null);
  const waiting = [];

  function record(id) {
    const found = modulesMap[id];
    if (found === undefined) {
      throw new Error(`Requiring unknown module "${id}"`);
    }
    return found;
  }

  function exportsOf(id) {
    const entry = record(id);
    if (entry.exports === null) {
      entry.exports = {};
      const module = { exports: entry.exports };
      try {
        entry.factory.call(
          null, global, require, importDefault, importNamespace, requireLazy, module, entry.exports,
        );
      } catch (error) {
        entry.exports = null; // a failed module is tried again at its next use
        throw error;
      }
      entry.exports = module.exports;
    }
    return entry.exports;
  }

  function require(id) {
    if (id === "__debug") {
      return { modulesMap, getDebug: () => ({ modulesMap }) };
    }
    const exported = exportsOf(id);
    return exported;
  }

  function importDefault(id) {
    const exported = exportsOf(id);
    return "default" in exported ? exported.default : exported;
  }

  function importNamespace(id) {
    return exportsOf(id);
  }

  function requireLazy(ids, callback) {
    waiting.push({ ids, callback });
    runWaiting();
  }

  function runWaiting() {
    for (const entry of waiting.slice()) {
      if (entry.ids.every((id) => id in modulesMap)) {
        waiting.splice(waiting.indexOf(entry), 1);
        entry.callback(...entry.ids.map(importDefault));
      }
    }
  }

  global.__d = function (id, dependencies, factory, special) {
    if (id in modulesMap) {
      return;
    }
    modulesMap[id] = { id, dependencies, factory, special, exports: null };
    runWaiting();
  };
  global.require = require;
  global.importDefault = importDefault;
  global.importNamespace = importNamespace;
  global.requireLazy = requireLazy;
  global.ErrorGuard = {
    guarded: true,
    skipGuardGlobal(skip) {
      this.guarded = !skip;
    },
    applyWithGuard(callback, context, args) {
      return callback.apply(context, args || []);
    },
  };
})(globalThis);
