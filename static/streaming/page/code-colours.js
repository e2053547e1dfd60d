/** Colours for code, by highlight.js, which is fetched when there is the first code. */

import { element } from "./dom.js";
import { library } from "./libraries.js";

/** While code grows, with each piece that comes, so many characters are coloured … */
const LONGEST_GROWING = 4000;
/** … and when it has ended. */
const LONGEST = 50_000;

/** @type {any} */
let highlighter;
/** @type {Promise<void> | undefined} */
let loading;

/**
 * Colour it now, or as soon as that can be.
 *
 * @param {HTMLElement} code
 * @param {string} language
 * @param {boolean} growing more of it will come
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
