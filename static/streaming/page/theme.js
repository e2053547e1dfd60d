/** The theme: light, dark, or that of the system. */

import { save } from "../chat/browser-storage.js";
import { byId } from "../chat/dom.js";

const root = document.documentElement;

/** Set up the theme switch. `before-paint.js` has already applied the saved theme. */
export function switchTheme() {
  const switches = byId(document, "theme").querySelectorAll("input");
  const chosen = root.dataset.theme ?? "system";
  for (const input of switches) {
    input.checked = input.value === chosen;
    input.addEventListener("change", () => choose(input.value));
  }
  colourBrowser();
}

/** @param {string} theme */
function choose(theme) {
  const forced = theme === "system" ? "" : theme;
  if (forced) root.dataset.theme = forced;
  else delete root.dataset.theme;
  save("theme", forced);
  colourBrowser();
}

/** Set the colour of the browser's own surfaces around the page. */
function colourBrowser() {
  /** @type {NodeListOf<HTMLMetaElement>} */
  const metas = document.querySelectorAll("meta[name=theme-color]");
  for (const meta of metas) {
    const own = meta.media.includes("dark") ? "dark" : "light";
    meta.dataset[own] ??= meta.content;
  }
  const colours = Object.assign({}, ...[...metas].map(({ dataset }) => dataset));
  for (const meta of metas) {
    const own = meta.media.includes("dark") ? "dark" : "light";
    meta.content = colours[root.dataset.theme ?? own];
  }
}
