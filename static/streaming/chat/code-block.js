/** A block of code: its language, a copy button, and colours. */

import { copyButton } from "./clipboard.js";
import { element } from "./dom.js";

/** @type {typeof import("./code-colours.js") | undefined} Loaded with the first code block. */
let colours;

/**
 * Colour an element: at once if the module is loaded.
 *
 * @param {HTMLElement} code
 * @param {string} language
 * @param {boolean} growing
 */
async function colour(code, language, growing) {
  colours ??= await import("./code-colours.js").catch(() => undefined);
  colours?.colour(code, language, growing);
}

/**
 * @param {string} text
 * @param {string} info text after the fence, starting with the language
 * @param {boolean} growing true if the fence is not closed yet
 * @param {import("./language.js").Language} spoken the language of its labels
 */
export function codeBlock(text, info, growing, spoken) {
  const [language = ""] = info.trim().split(/[\s,{]/, 1);
  const code = element("code", "", text);
  colour(code, language.toLowerCase(), growing);
  const copied = () => button.closest(".code")?.querySelector("code")?.textContent ?? "";
  const button = copyButton(spoken.text("copyCode"), copied, { language: spoken });
  const head = element("div", "code-head", element("span", "", language || spoken.text("code")), button);
  const body = element("pre", "", code);
  body.tabIndex = 0; // it may scroll
  return element("div", "code", head, body);
}
