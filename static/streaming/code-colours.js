/** Colours for code, by highlight.js, which is fetched when there is the first code. */

import { element } from "./dom.js";
import { library } from "./libraries.js";

/** More than that takes too long to be done with each piece that comes. */
const LONGEST = 20_000;

/** @type {any} */
let highlighter;
/** @type {Promise<void> | undefined} */
let loading;

/**
 * Colour it now, or as soon as that can be.
 *
 * @param {HTMLElement} code
 * @param {string} language
 */
export function colour(code, language) {
  const text = code.textContent ?? "";
  if (!language || text.length > LONGEST) return;
  code.dataset.language = language;
  if (highlighter) draw(code, text, language);
  else loading ??= load();
}

async function load() {
  highlighter = (await library("highlight"))?.default;
  if (!highlighter) return;
  for (const code of document.querySelectorAll("code[data-language]")) {
    const { textContent, dataset } = /** @type {HTMLElement} */ (code);
    draw(code, textContent ?? "", dataset.language ?? "");
  }
}

/**
 * @param {Element} code
 * @param {string} text
 * @param {string} language
 */
function draw(code, text, language) {
  if (!highlighter.getLanguage(language)) return;
  const { _emitter: emitter } = highlighter.highlight(text, { language, ignoreIllegals: true });
  code.replaceChildren(...emitter.root.children.map(nodeOf));
}

/**
 * @param {string | {scope?: string, children: any[]}} token
 * @returns {Node | string}
 */
function nodeOf(token) {
  if (typeof token === "string") return token;
  const scope = token.scope?.split(".")[0] ?? "";
  return element("span", scope && `code-${scope}`, ...token.children.map(nodeOf));
}
