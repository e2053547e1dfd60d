/** Colours for code by highlight.js, which is loaded with the first code block. */

import { element } from "./dom.js";
import { library } from "./libraries.js";

/** Maximum characters to colour each time while the code grows … */
const LONGEST_GROWING = 4000;
/** … and after it has ended. */
const LONGEST = 50_000;

/** The library; null if it is not installed, undefined before it is loaded. @type {any} */
let highlighter;
/** @type {Promise<void> | undefined} */
let loading;
/** @type {Set<HTMLElement>} Elements to colour when the library is loaded. */
const waiting = new Set();

/**
 * Colour an element now, or as soon as the library is loaded.
 *
 * @param {HTMLElement} code
 * @param {string} language
 * @param {boolean} growing true if more will follow
 */
export function colour(code, language, growing) {
  if (!language || highlighter === null) return;
  code.dataset.language = language;
  if (highlighter) return draw(code, growing ? LONGEST_GROWING : LONGEST);
  waiting.add(code);
  loading ??= load();
}

async function load() {
  highlighter = (await library("highlight"))?.default ?? null;
  for (const code of waiting) if (highlighter) draw(code, LONGEST_GROWING);
  waiting.clear();
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
