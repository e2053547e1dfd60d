/** Colours for code by highlight.js, which is loaded with the first code block. */

import { element } from "./dom.js";
import { library } from "./libraries.js";

/** Maximum characters to colour each time while the code grows … */
const LONGEST_GROWING = 4000;
/** … and after it has ended. */
const LONGEST = 50_000;

/** @type {any} */
let highlighter;
/** @type {Promise<void> | undefined} */
let loading;

/**
 * Colour an element now, or as soon as the library is loaded.
 *
 * @param {HTMLElement} code
 * @param {string} language
 * @param {boolean} growing true if more will follow
 */
export function colour(code, language, growing) {
  if (!language) return;
  code.dataset.language = language;
  if (highlighter) draw(code, growing ? LONGEST_GROWING : LONGEST);
  else loading ??= load();
}

async function load() {
  highlighter = (await library("highlight"))?.default;
  if (!highlighter) return;
  for (const code of document.querySelectorAll("code[data-language]")) {
    draw(/** @type {HTMLElement} */ (code), LONGEST_GROWING);
  }
}

/**
 * @param {HTMLElement} code
 * @param {number} longest
 */
function draw(code, longest) {
  const { textContent, dataset: { language = "" } } = code;
  const text = textContent ?? "";
  if (!highlighter.getLanguage(language)) return;
  const end = text.length > longest ? text.lastIndexOf("\n", longest) + 1 : text.length;
  const found = highlighter.highlight(text.slice(0, end), { language, ignoreIllegals: true });
  code.replaceChildren(...found._emitter.root.children.map(nodeOf), text.slice(end));
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
