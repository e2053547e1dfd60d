/**
 * Markdown as tokens of the library `marked`, tolerant of hostile and unfinished text.
 *
 * Only the library's lexer is used, so no HTML is ever generated.
 */

import { library } from "./libraries.js";
import { math } from "./markdown-math.js";

/** @typedef {{type: string, raw: string, [more: string]: any}} Token */
/** @typedef {Record<string, unknown>} Links link targets, as `[name]: url` defines them */

/** Longer paragraphs stay plain text: some of the lexer's patterns take quadratic time. */
const LONGEST_INLINE = 10_000;

const REMEND_OPTIONS = { singleTilde: false, images: false, linkMode: "text-only" };

/** @type {any} */
let BoundedLexer;
/** @type {any} */
let remend;
/** @type {Promise<void> | undefined} */
let loading;

/** Load the libraries, once. Without them all text stays plain. */
export function loadMarkdown() {
  return (loading ??= load());
}

async function load() {
  const [marked, remending] = await Promise.all([library("marked"), library("remend")]);
  remend = remending;
  BoundedLexer = marked && makeLexer(marked);
}

/** Return true if the library is loaded. */
export function isMarkdownKnown() {
  return Boolean(BoundedLexer);
}

/**
 * Return the blocks of a text. Text that the library rejects is one plain paragraph.
 *
 * @param {string} source
 * @param {Links} links known so far; new ones are added to it
 * @returns {Token[]}
 */
export function blocksOf(source, links) {
  try {
    return new BoundedLexer(links).lex(source);
  } catch {
    return [{ type: "text", raw: source, text: source }];
  }
}

/**
 * Complete the unfinished end of a text: close marks, start a table.
 *
 * @param {string} source
 */
export function completed(source) {
  return withTableBegun(remend?.default(source, REMEND_OPTIONS) ?? source);
}

const HEADER = /(?:^|\n\n)(\|[^\n]*[^\s|][^\n]*)(\n[|:\- ]*)?$/;

/** @param {string} source */
function withTableBegun(source) {
  const found = HEADER.exec(source);
  if (!found) return source;
  const [, header, delimiters = ""] = found;
  const cells = header.trim().replace(/^\||\|$/g, "").split("|").length;
  const rest = source.slice(0, source.length - delimiters.length);
  return `${rest}${header.trimEnd().endsWith("|") ? "" : "|"}\n|${"---|".repeat(cells)}`;
}

/** @param {any} marked */
function makeLexer({ Lexer, Marked, Tokenizer }) {
  class StrictTokenizer extends Tokenizer {
    /**
     * @param {string} source
     * @param {any[]} more
     */
    del(source, ...more) {
      return source.startsWith("~~") ? super.del(source, ...more) : undefined;
    }
  }
  const known = new Marked({ gfm: true, breaks: true, extensions: math }).defaults;
  return class BoundedLexer extends Lexer {
    /** @param {Links} links */
    constructor(links) {
      super({ ...known, tokenizer: new StrictTokenizer() });
      this.tokens.links = links;
    }

    /**
     * @param {string} source
     * @param {Token[]} [tokens]
     */
    inlineTokens(source, tokens = []) {
      if (source.length < LONGEST_INLINE) return super.inlineTokens(source, tokens);
      tokens.push({ type: "text", raw: source, text: source });
      return tokens;
    }
  };
}
