/** Sets the theme before the first paint. It is a classic script, so that rendering waits for it. */
(() => {
  try {
    const theme = localStorage.getItem("agent.theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // storage is forbidden: the system's theme
  }
})();
