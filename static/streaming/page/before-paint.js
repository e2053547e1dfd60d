/**
 * What must be right before the first paint: the theme and which panes stand open. A
 * classic script, so that the page waits for it.
 */
(() => {
  const root = document.documentElement;
  const recall = (/** @type {string} */ key) => {
    try {
      return localStorage.getItem(`agent.${key}`);
    } catch {
      return null; // storage is forbidden: as at the first visit
    }
  };
  const theme = recall("theme");
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  for (const pane of ["sidebar", "inspector"]) {
    const beside = matchMedia(root.dataset[`${pane}Beside`] ?? "").matches;
    root.dataset[pane] = beside && recall(pane) !== "closed" ? "open" : "closed";
  }
})();
