/**
 * Markdown as tokens, by the library `marked`, patient with hostile and unfinished text.
 *
 * Of the library only its lexer is used: it never makes HTML, and neither do we.
 */

import { library } from "./libraries.js";
import { math } from "./markdown-math.js";

/** @typedef {{type: string, raw: string, [more: string]: any}} Token */
/** @typedef {Record<string, unknown>} Links what `[name]: url` defines */

/** Longer paragraphs are no paragraphs; some patterns take quadratic time. */
const LONGEST_INLINE = 10_000;

const MENDING = { singleTilde: false, images: false, linkMode: "text-only" };

const [marked, remend] = await Promise.all([library("marked"), library("remend")]);
const PatientLexer = marked && makeLexer(marked);

/** Whether Markdown can be read at all. */
export const isMarkdownKnown = Boolean(PatientLexer);

/**
 * The blocks of a text. Whatever stalls the library is one paragraph of plain text.
 *
 * @param {string} source
 * @param {Links} links known so far; new ones are added
 * @returns {Token[]}
 */
export function blocksOf(source, links) {
  try {
    return new PatientLexer(links).lex(source);
  } catch {
    return [{ type: "text", raw: source, text: source }];
  }
}

/**
 * The text with what is not finished at its end finished: marks closed, a table begun.
 *
 * @param {string} source
 */
export function mended(source) {
  return withTableBegun(remend?.default(source, MENDING) ?? source);
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
  class OurTokenizer extends Tokenizer {
    /**
     * @param {string} source
     * @param {any[]} more
     */
    del(source, ...more) {
      return source.startsWith("~~") ? super.del(source, ...more) : undefined;
    }
  }
  const known = new Marked({ gfm: true, breaks: true, extensions: math }).defaults;
  return class PatientLexer extends Lexer {
    /** @param {Links} links */
    constructor(links) {
      super({ ...known, tokenizer: new OurTokenizer() });
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
