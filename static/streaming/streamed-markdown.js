/**
 * Markdown that grows, as elements: drawn at most once per animation frame.
 *
 * Blocks that are settled are never touched again; of the last one, plain text is
 * appended to, and only marks and line breaks make it be drawn anew.
 */

import { element } from "./dom.js";
import { onNextFrame } from "./frames.js";
import { parse, settledLength } from "./markdown.js";

/** @typedef {import("./markdown-inline.js").Tree} Tree */

/** Text that can change nothing before it. */
const PLAIN = /^[^\n`*]*$/;
/** A line of which it is clear what it begins. */
const BEGUN = /\S +\S/;
const CLOSED = new Set(["code", "em", "strong"]);

export class StreamedMarkdown {
  element = element("div", "text");
  source = "";
  #waiting = "";
  #unsettled = "";
  /** @type {HTMLElement[]} */
  #drawn = [];

  /** @param {string} source */
  append(source) {
    this.element.dataset.live = "";
    this.source += source;
    this.#waiting += source;
    onNextFrame(this.#flush);
  }

  /** Nothing more will come. */
  close() {
    delete this.element.dataset.live;
  }

  #flush = () => {
    const tail = this.#plainTail();
    this.#unsettled += this.#waiting;
    if (tail) tail.appendData(this.#waiting);
    else this.#draw();
    this.#waiting = "";
  };

  /** The text that what waits can simply be appended to. */
  #plainTail() {
    const line = this.#unsettled.slice(this.#unsettled.lastIndexOf("\n") + 1);
    if (!PLAIN.test(this.#waiting) || !BEGUN.test(line)) return;
    /** @type {Node | null | undefined} */
    let tail = this.#drawn.at(-1);
    while (tail instanceof Element && !CLOSED.has(tail.localName)) tail = tail.lastChild;
    return tail instanceof Text ? tail : undefined;
  }

  #draw() {
    for (const block of this.#drawn) block.remove();
    const settled = settledLength(this.#unsettled);
    this.element.append(...render(this.#unsettled.slice(0, settled)));
    this.#unsettled = this.#unsettled.slice(settled);
    this.#drawn = render(this.#unsettled);
    this.element.append(...this.#drawn);
  }
}

/** @param {string} source */
function render(source) {
  return parse(source).map((branch) => /** @type {HTMLElement} */ (nodeOf(branch)));
}

/**
 * @param {Tree} tree
 * @returns {HTMLElement | string}
 */
function nodeOf(tree) {
  if (typeof tree === "string") return tree;
  const node = element(tree.tag, "", ...tree.children.map(nodeOf));
  if (node instanceof HTMLOListElement) node.start = tree.start ?? 1;
  if (node instanceof HTMLPreElement) node.tabIndex = 0; // it may scroll
  return node;
}
