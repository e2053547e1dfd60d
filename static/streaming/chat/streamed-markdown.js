/**
 * Growing Markdown as elements, drawn at most once per animation frame.
 *
 * Only the last blocks can still change. The others are never processed again, and are
 * grouped into pages of which the browser lays out only those in view, so that the cost does
 * not grow with the answer. If drawing is slow, it happens less often.
 */

import { onNextFrame } from "./animation-frames.js";
import { element } from "./dom.js";
import { english } from "./language.js";
import { blockOf } from "./markdown-nodes.js";
import { blocksOf, completed } from "./markdown.js";
import { morph } from "./morph.js";

/** Blocks per page. */
const PAGE = 20;
/** Blocks at the end that new text can still change. */
const UNSETTLED = 2;
/** Pause after drawing, as a multiple of the drawing time. */
const SHARE = 4;

export class StreamedMarkdown {
  element = element("div", "text");
  source = "";
  #settled = 0;
  #drawnLength = 0;
  /** @type {Node[]} */
  #tail = [];
  #links = {};
  #restUntil = 0;
  #language;

  /** @param {import("./language.js").Language} [language] of its labels */
  constructor(language = english) {
    this.#language = language;
  }

  /** @param {string} source */
  append(source) {
    this.element.dataset.live = "";
    this.source += source;
    onNextFrame(this.#drawNext);
  }

  /** Draw the rest after the last piece. */
  close() {
    delete this.element.dataset.live;
    this.#drawAll();
  }

  #drawNext = () => {
    const began = performance.now();
    if (this.#drawnLength === this.source.length) return;
    if (began < this.#restUntil) return onNextFrame(this.#drawNext);
    this.#draw(completed(this.#unsettled));
    this.#restUntil = performance.now() + SHARE * (performance.now() - began);
    this.element.dispatchEvent(new Event("grown", { bubbles: true }));
  };

  #drawAll() {
    if (Object.keys(this.#links).length) {
      this.#settled = 0; // links may be used before their definition
      this.#tail = [...this.element.children].flatMap((page) => [...page.children]);
    }
    this.#draw(this.#unsettled);
  }

  get #unsettled() {
    return this.source.slice(this.#settled);
  }

  /** Return the page for the next block. */
  get #page() {
    const last = this.element.lastElementChild;
    if (last && last.childElementCount < PAGE) return last;
    return this.element.appendChild(element("div", "text-page"));
  }

  /** @param {string} source */
  #draw(source) {
    this.#drawnLength = this.source.length;
    const blocks = blocksOf(source, this.#links)
      .map((token) => ({ raw: token.raw, node: blockOf(token, this.#language) }));
    const shown = blocks.flatMap(({ node }) => node ?? []);
    this.#tail = morph(() => this.#page, this.#tail, shown);
    if (!this.element.lastChild?.hasChildNodes()) this.element.lastChild?.remove();
    this.#settle(blocks, shown.length - UNSETTLED);
  }

  /**
   * Exclude the first blocks from further drawing.
   *
   * @param {{raw: string, node?: Node}[]} blocks
   * @param {number} number of visible blocks
   */
  #settle(blocks, number) {
    if (number <= 0) return;
    const last = blocks.filter(({ node }) => node)[number - 1];
    const raw = blocks.slice(0, blocks.indexOf(last) + 1).map((block) => block.raw).join("");
    if (!this.source.startsWith(raw, this.#settled)) return;
    this.#settled += raw.length;
    this.#tail = this.#tail.slice(number);
  }
}
