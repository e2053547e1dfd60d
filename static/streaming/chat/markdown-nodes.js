/**
 * Markdown tokens as elements. Text only ever becomes text nodes: HTML is shown as written,
 * links lead only to the web or to mail, and nothing is loaded.
 */

import { codeBlock } from "./code-block.js";
import { element } from "./dom.js";

/** @import { Language } from "./language.js" */
/** @import { Token } from "./markdown.js" */

/** Deeper nesting is shown as text, as protection against attacks. */
const DEEPEST = 24;
const PROTOCOLS = new Set(["http:", "https:", "mailto:"]);
/** Harmless HTML tags without a Markdown notation, which models write. */
const TAG = /^<(\/?)(br|sub|sup|kbd)\s*\/?>$/i;
const FENCE_CLOSED = /\n *(`{3,}|~{3,})\s*$/;
const ENTITY = /&(?:#(\d{1,7})|#x([\da-f]{1,6})|([a-z]+));/gi;
/** @type {Record<string, string>} */
const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0" };

/** @type {Record<string, keyof HTMLElementTagNameMap>} */
const ELEMENTS = {
  paragraph: "p",
  strong: "strong",
  em: "em",
  del: "del",
};

/**
 * Return the element of a block, or undefined if the block is invisible.
 *
 * @param {Token} token
 * @param {Language} language of the labels
 * @returns {HTMLElement | undefined}
 */
export function blockOf(token, language) {
  const node = nodeOf(token, 0, language);
  if (node === undefined || node instanceof HTMLElement) return node;
  return element("p", "", node);
}

/**
 * @param {Token[]} tokens
 * @param {number} depth
 * @param {Language} language
 */
function nodesOf(tokens, depth, language) {
  const fragment = document.createDocumentFragment();
  /** @type {Node} */
  let into = fragment;
  for (const token of tokens) {
    const [, closing, tag] = (token.type === "html" && TAG.exec(token.raw)) || [];
    const name = tag?.toLowerCase();
    if (closing && into instanceof Element && into.localName === name) {
      into = /** @type {Node} */ (into.parentNode);
    } else if (tag && !closing) {
      const open = into.appendChild(document.createElement(name));
      if (name !== "br") into = open;
    } else {
      const node = nodeOf(token, depth, language);
      if (node) into.appendChild(node);
    }
  }
  return fragment;
}

/**
 * @param {Token} token
 * @param {number} depth
 * @param {Language} language
 * @returns {Node | undefined}
 */
function nodeOf(token, depth, language) {
  if (depth > DEEPEST) return document.createTextNode(token.raw);
  const children = (/** @type {Token[]} */ tokens) => nodesOf(tokens, depth + 1, language);
  if (token.type in ELEMENTS) return element(ELEMENTS[token.type], "", children(token.tokens));
  switch (token.type) {
    case "space":
    case "def":
      return undefined;
    case "heading":
      return element("h4", `depth-${token.depth}`, children(token.tokens));
    case "blockquote":
      return oneWay(element("blockquote", "", children(token.tokens)));
    case "code":
      return codeBlock(token.text, token.lang ?? "", !FENCE_CLOSED.test(token.raw), language);
    case "list":
      return list(token, children);
    case "checkbox":
      return checkbox(token.checked, language);
    case "table":
      return table(token, children, language);
    case "hr":
    case "br":
      return element(token.type);
    case "codespan":
      return element("code", "", token.text);
    case "math":
      return element("span", "math", token.text);
    case "formula":
      return scrolling(element("div", "math", token.text), language.text("formula"));
    case "link":
      return link(token.href, children(token.tokens), token.raw);
    case "image":
      return link(token.href, token.text || token.href, token.raw);
    case "html":
      return document.createTextNode(token.raw.trimEnd());
    case "escape":
      return document.createTextNode(token.text);
    default:
      return token.tokens ? children(token.tokens) : plain(token.text ?? token.raw);
  }
}

/**
 * @param {Token} token
 * @param {(tokens: Token[]) => Node} children
 */
function list({ ordered, start, items }, children) {
  const node = element(ordered ? "ol" : "ul");
  if (node instanceof HTMLOListElement && start !== 1) node.start = Number(start);
  for (const { task, tokens } of items) {
    node.append(element("li", task ? "task" : "", children(tokens)));
  }
  return oneWay(node);
}

/**
 * @param {boolean} checked
 * @param {Language} language
 */
function checkbox(checked, language) {
  const box = element("input");
  box.type = "checkbox";
  box.disabled = true;
  box.toggleAttribute("checked", checked);
  box.ariaLabel = language.text(checked ? "done" : "toDo");
  return box;
}

/**
 * @param {Token} token
 * @param {(tokens: Token[]) => Node} children
 * @param {Language} language
 */
function table({ header, rows }, children, language) {
  const row = (/** @type {"th" | "td"} */ tag, /** @type {any[]} */ cells) => {
    const made = cells.map(({ tokens, align }) => element(tag, align ?? "", children(tokens)));
    return element("tr", "", ...made);
  };
  const head = element("thead", "", row("th", header));
  const body = element("tbody", "", ...rows.map((/** @type {any[]} */ cells) => row("td", cells)));
  const drawn = oneWay(element("table", "", head, body));
  return scrolling(element("div", "table", drawn), language.text("table"));
}

/**
 * @param {string} href
 * @param {Node | string} label
 * @param {string} raw the text to show instead of a forbidden link
 */
function link(href, label, raw) {
  if (!URL.canParse(href) || !PROTOCOLS.has(new URL(href).protocol)) {
    return document.createTextNode(raw);
  }
  const node = element("a", "", label);
  node.href = href;
  node.rel = "noopener noreferrer nofollow";
  node.target = "_blank";
  node.title = href;
  return node;
}

/**
 * Let the first word decide on which side the markers, the bar or the first column is.
 *
 * @template {HTMLElement} T
 * @param {T} node
 */
function oneWay(node) {
  node.dir = "auto";
  return node;
}

/**
 * Make a wide element scrollable by keyboard.
 *
 * @template {HTMLElement} T
 * @param {T} node
 * @param {string} label
 */
function scrolling(node, label) {
  node.tabIndex = 0;
  node.role = "group";
  node.ariaLabel = label;
  return node;
}

/** @param {string} text */
function plain(text) {
  return document.createTextNode(
    text.replace(ENTITY, (whole, decimal, hexadecimal, name) => {
      if (name) return ENTITIES[name] ?? whole;
      const point = decimal ? Number(decimal) : Number.parseInt(hexadecimal, 16);
      return point > 0x10ffff ? whole : String.fromCodePoint(point);
    }),
  );
}
