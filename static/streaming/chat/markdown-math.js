/** Extensions for `marked` that keep formulas as written, as "math" and "formula" tokens. */

const INLINE = [
  /^\\\((?:[^\\]|\\(?!\)))+(?:\\\)|$)/,
  /^\\\[(?:[^\\]|\\(?!\]))+(?:\\\]|$)/,
  /^\$\$[^$]+\$\$/,
  // Excludes amounts, as in "$5 or $10".
  /^\$(?![\s$])(?:[^$\n\\]|\\.)*?(?<!\s)\$(?![\d$])/,
];
const INLINE_START = /\\[([]|\$/;
const BLOCK = [
  /^\$\$(?:[^$]+?)(?:\$\$[^\S\n]*(?:\n+|$)|$)/,
  /^\\\[(?:[^\\]|\\(?!\]))+(?:\\\][^\S\n]*(?:\n+|$)|$)/,
];
const BLOCK_START = /\n(?:\$\$|\\\[)/;

export const math = [
  extension("inline", INLINE, INLINE_START),
  extension("block", BLOCK, BLOCK_START),
];

/**
 * @param {"inline" | "block"} level
 * @param {RegExp[]} forms
 * @param {RegExp} start
 */
function extension(level, forms, start) {
  return {
    name: level === "block" ? "formula" : "math",
    level,
    start: (/** @type {string} */ source) => start.exec(source)?.index,
    tokenizer: (/** @type {string} */ source) => {
      const raw = forms.map((form) => form.exec(source)?.[0]).find(Boolean);
      return raw && { type: level === "block" ? "formula" : "math", raw, text: raw.trim() };
    },
  };
}
