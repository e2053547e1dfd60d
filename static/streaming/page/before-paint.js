/**
 * Sets the theme and the open panes before the first paint. It is a classic script, so that
 * rendering waits for it.
 */
(() => {
  const root = document.documentElement;
  const load = (/** @type {string} */ key) => {
    try {
      return localStorage.getItem(`agent.${key}`);
    } catch {
      return null; // storage is forbidden: use the defaults
    }
  };
  const theme = load("theme");
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  for (const pane of ["sidebar", "inspector"]) {
    const beside = matchMedia(root.dataset[`${pane}Beside`] ?? "").matches;
    root.dataset[pane] = beside && load(pane) !== "closed" ? "open" : "closed";
  }
})();
