// Brings the page's bundles in, one after the other and some of them late, with the page's own Trusted Types policy.
(function (global) {
  "use strict";

  const nonce = document.currentScript.nonce;
  const policy = global.trustedTypes.createPolicy("wa-bootloader", {
    createScriptURL(url) {
      const wanted = new URL(url, location.origin);
      if (wanted.origin !== location.origin || !/^\/(static\/|sw\.js$)/.test(wanted.pathname)) {
        throw new TypeError(`not a script of this page: ${wanted.pathname}`);
      }
      return wanted.href;
    },
  });

  const loaded = new Map();

  function load(path) {
    if (!loaded.has(path)) {
      loaded.set(
        path,
        new Promise((resolve, reject) => {
          const script = document.createElement("script");
          script.nonce = nonce;
          script.async = true;
          script.src = policy.createScriptURL(path);
          script.onload = () => resolve();
          script.onerror = () => reject(new Error(`could not load ${path}`));
          document.head.append(script);
        }),
      );
    }
    return loaded.get(path);
  }

  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

  // What each bundle of the page holds. `main` is there soon, the rest comes when it is asked for.
  const bundles = {
    main: ["base", "environment", "jids", "linking", "connection", "padding"],
    chats: ["contacts"],
    calls: ["calls", "ringtone"],
    voip: ["gating", "audio", "stack", "startcall"],
  };

  async function loadBundle(name) {
    for (const module of bundles[name]) {
      await load(`/static/modules/${module}.js`);
    }
  }

  global.__d("Bootloader", [], (_g, _require, _d, _n, _lazy, _module, exports) => {
    exports.default = {
      loadModules(names, callback) {
        Promise.all(names.map((name) => loadBundle(name))).then(() => callback());
      },
    };
  });

  global.__d("WAWebScriptUrl", [], (_g, _require, _d, _n, _lazy, _module, exports) => {
    exports.scriptUrl = (path) => policy.createScriptURL(path);
  });

  async function start() {
    if ("serviceWorker" in navigator) {
      navigator.serviceWorker.register(policy.createScriptURL("/sw.js"), { scope: "/" }).catch(() => undefined);
    }
    await loadBundle("main");
    global.Debug = { VERSION: "{build}" };
    await pause(120);
    await loadBundle("chats");
    await pause(180);
    await loadBundle("calls");
    await load("/static/app.js");
    await pause(400); // the calling stack is the last to come, as it is the largest
    await loadBundle("voip");
  }

  start();
})(globalThis);
