/** The agent's answer: thinking, tool calls and text in the order of arrival. */

/** @import { Language } from "./language.js" */
/** @import { ToolCall } from "./tool-card.js" */

import { element } from "./dom.js";
import { isMarkdownKnown } from "./markdown.js";
import { StreamedMarkdown } from "./streamed-markdown.js";
import { StreamedText } from "./streamed-text.js";
import { ThinkingFold } from "./thinking-fold.js";
import { ToolCard } from "./tool-card.js";

/** @typedef {StreamedMarkdown | StreamedText} TextView */

/**
 * A part that grows by events: their numbers, and its length after each of them.
 *
 * @typedef {object} GrowingPart
 * @property {TextView | ThinkingFold} view
 * @property {number[]} numbers
 * @property {number[]} lengths
 */

export class Answer {
  element;
  /** Number of the current event; 0 for stored parts. */
  number = 0;
  #language;
  #details;
  /** @type {GrowingPart[]} */
  #parts = [];
  /** @type {Map<string, {card: ToolCard, number: number}>} With the number of the first event. */
  #tools = new Map();
  /** @type {GrowingPart | undefined} The part that is still growing. */
  #open;
  /** @type {HTMLElement | undefined} The cards of parallel calls. */
  #group;
  /** @type {number | undefined} */
  #now;

  /**
   * @param {Language} language
   * @param {boolean} details true to show the arguments and results of tools at once
   */
  constructor(language, details) {
    this.#language = language;
    this.#details = details;
    const title = element("h3", "visually-hidden", language.text("agent"));
    this.element = element("div", "answer", title);
  }

  /** Text so far, as the model wrote it. */
  get text() {
    const texts = this.#parts.filter(({ view }) => !(view instanceof ThinkingFold));
    return texts.map(({ view }) => view.source).join("\n\n");
  }

  /** @param {number} timestamp of the current event, in ms */
  set now(timestamp) {
    this.#now = timestamp;
  }

  /** @param {string} text */
  think(text) {
    const isOpen = this.#open?.view instanceof ThinkingFold;
    if (!isOpen) this.#begin(new ThinkingFold(this.#language, this.#now));
    this.#grow(text);
  }

  /** @param {string} text */
  write(text) {
    const isOpen = this.#open && !(this.#open.view instanceof ThinkingFold);
    if (!isOpen) this.#begin(this.#newText());
    this.#grow(text);
  }

  /**
   * Show the summary that the model received in place of the oldest exchanges.
   *
   * @param {string} text
   * @param {number} exchanges
   */
  recall(text, exchanges) {
    const label = this.#language.text("summaryOf", { count: exchanges });
    const fold = new ThinkingFold(this.#language, undefined, label);
    fold.append(text);
    this.add(fold.element);
  }

  /**
   * Show a call, or show it again from its beginning: a further attempt of the run sends it
   * with the same id.
   *
   * @param {ToolCall} call
   */
  callTool(call) {
    const known = this.#tools.get(call.id);
    const open = known?.card.element.open ?? this.#details;
    const card = new ToolCard(call, this.#language, open, this.#now);
    this.#tools.set(call.id, { card, number: known?.number ?? this.number });
    if (known) {
      known.card.close(this.#now ?? 0);
      return known.card.element.replaceWith(card.element);
    }
    if (!this.#group) {
      const group = element("div", "tools");
      this.add(group);
      this.#group = group;
    }
    this.#group.append(card.element);
  }

  /** @param {ToolCall} call */
  finishTool(call) {
    if (!this.#tools.get(call.id)?.card.running) this.callTool(call);
    this.#tools.get(call.id)?.card.finish(call, this.#now);
    const running = [...this.#tools.values()].some(({ card }) => card.running);
    if (!running) this.#group = undefined;
  }

  /**
   * Remove the parts of the events after a number, which a restart of the run made void.
   *
   * @param {number} number
   */
  discardAfter(number) {
    this.#closeOpen();
    this.#group = undefined;
    for (const [id, tool] of this.#tools) {
      if (tool.number <= number) continue;
      tool.card.close(this.#now ?? 0);
      tool.card.element.remove();
      this.#tools.delete(id);
    }
    for (const group of this.element.querySelectorAll(".tools:empty")) group.remove();
    this.#parts = this.#parts.flatMap((part) => this.#upTo(number, part) ?? []);
    const last = this.#parts.at(-1);
    if (last && last.view.element === this.element.lastElementChild) this.#open = last;
  }

  /**
   * Show an error.
   *
   * @param {string} message
   * @param {string} [code]
   */
  fail(message, code) {
    const failure = element("p", "failure", message);
    if (code && this.#details) failure.append(" ", element("code", "", code));
    this.add(failure);
  }

  /** @param {string} text */
  note(text) {
    this.add(element("p", "note", text));
  }

  /** @param {HTMLElement} part */
  add(part) {
    this.#closeOpen();
    this.#group = undefined;
    this.element.append(part);
  }

  /** Close all parts after the last event. */
  close() {
    this.#closeOpen();
    for (const { card } of this.#tools.values()) card.close(this.#now ?? 0);
  }

  /** @param {TextView | ThinkingFold} view */
  #begin(view) {
    this.add(view.element);
    this.#open = { view, numbers: [], lengths: [] };
    this.#parts.push(this.#open);
  }

  /** @param {string} text */
  #grow(text) {
    const part = /** @type {GrowingPart} */ (this.#open);
    part.view.append(text, this.#now);
    part.numbers.push(this.number);
    part.lengths.push(part.view.source.length);
  }

  /**
   * Return a part without its events after a number; nothing if none remain.
   *
   * @param {number} number
   * @param {GrowingPart} part
   * @returns {GrowingPart | undefined}
   */
  #upTo(number, part) {
    const { view, numbers, lengths } = part;
    const first = numbers.findIndex((each) => each > number);
    if (first < 0) return part;
    if (first === 0) return void view.element.remove();
    const shorter = view instanceof ThinkingFold ? new ThinkingFold(this.#language) : this.#newText();
    shorter.append(view.source.slice(0, lengths[first - 1]));
    shorter.close(0);
    view.element.replaceWith(shorter.element);
    return { view: shorter, numbers: numbers.slice(0, first), lengths: lengths.slice(0, first) };
  }

  #newText() {
    return isMarkdownKnown() ? new StreamedMarkdown(this.#language) : new StreamedText("text plain");
  }

  #closeOpen() {
    this.#open?.view.close(this.#now ?? 0);
    this.#open = undefined;
  }
}
