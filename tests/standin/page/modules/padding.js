// The real page has thousands of modules that have nothing to do with calls, and some of them throw when they are
// touched before their time. A library that walks over all of them must bear that.
(function () {
  const areas = ["Biz", "Emoji", "Forward", "Group", "Label", "Media", "Newsletter", "Poll", "Privacy", "Status"];
  const kinds = ["Action", "Utils", "Job", "Constants", "Gating", "Drawer.react", "Modal.react", "Loadable"];
  for (const area of areas) {
    for (const kind of kinds) {
      for (const variant of ["", "V2", "Md"]) {
        __d(`WAWeb${area}${variant}${kind}`, [], (t, n, r, o, a, i, l) => {
          if (kind === "Loadable" && variant === "Md") {
            r(`WAWeb${area}Missing`);
          }
          l[`${area.toLowerCase()}${kind.replace(".react", "")}`] = () => null;
          if (kind.endsWith(".react")) {
            l.default = { $$typeof: Symbol.for("react.memo"), type: () => null };
          }
        });
      }
    }
  }
})();
