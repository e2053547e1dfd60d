/** A block of code: its language, a copy button, and colours. */

import { copyButton } from "./clipboard.js";
import { colour } from "./code-colours.js";
import { element } from "./dom.js";

/**
 * @param {string} text
 * @param {string} info text after the fence, starting with the language
 * @param {boolean} growing true if the fence is not closed yet
 */
export function codeBlock(text, info, growing) {
  const [language = ""] = info.trim().split(/[\s,{]/, 1);
  const code = element("code", "", text);
  colour(code, language.toLowerCase(), growing);
  const copied = () => button.closest(".code")?.querySelector("code")?.textContent ?? "";
  const button = copyButton("Copy code", copied);
  const head = element("div", "code-head", element("span", "", language || "code"), button);
  const body = element("pre", "", code);
  body.tabIndex = 0; // it may scroll
  return element("div", "code", head, body);
}
