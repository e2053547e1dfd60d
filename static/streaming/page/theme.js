/** Light or dark: as the system, or as a person chose. */

import { byId } from "./dom.js";
import { remember } from "./browser-storage.js";

const root = document.documentElement;

/** Let the theme be switched. What was chosen before is shown already. */
export function switchTheme() {
  const switches = byId("theme").querySelectorAll("input");
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
  remember("theme", forced);
  colourBrowser();
}

/** The browser's own surfaces around the page. */
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
