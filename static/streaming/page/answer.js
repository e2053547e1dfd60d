/** The agent's answer: thinking, tool calls and text in the order of arrival. */

import { element } from "./dom.js";
import { isMarkdownKnown } from "./markdown.js";
import { StreamedMarkdown } from "./streamed-markdown.js";
import { StreamedText } from "./streamed-text.js";
import { ThinkingFold } from "./thinking-fold.js";
import { ToolCard } from "./tool-card.js";

/** @typedef {StreamedMarkdown | StreamedText} TextPart */
/** @typedef {import("./tool-card.js").ToolCall} ToolCall */

export class Answer {
  element = element("div", "answer", element("h3", "visually-hidden", "Agent"));
  /** @type {TextPart[]} */
  #texts = [];
  /** @type {Map<string, ToolCard>} */
  #tools = new Map();
  /** @type {TextPart | ThinkingFold | undefined} The part that is still growing. */
  #open;
  /** @type {HTMLElement | undefined} The cards of parallel calls. */
  #group;
  /** @type {number | undefined} */
  #now;

  /** Text so far, as the model wrote it. */
  get text() {
    return this.#texts.map(({ source }) => source).join("\n\n");
  }

  /** @param {number} timestamp of the current event, in ms */
  set now(timestamp) {
    this.#now = timestamp;
  }

  /** @param {string} text */
  think(text) {
    if (!(this.#open instanceof ThinkingFold)) this.#grow(new ThinkingFold(this.#now));
    this.#open?.append(text, this.#now);
  }

  /** @param {string} text */
  write(text) {
    if (!this.#open || this.#open instanceof ThinkingFold) {
      const part = isMarkdownKnown ? new StreamedMarkdown() : new StreamedText("text plain");
      this.#texts.push(part);
      this.#grow(part);
    }
    this.#open?.append(text);
  }

  /** @param {ToolCall} call */
  callTool(call) {
    const card = new ToolCard(call, this.#now);
    if (!this.#group) {
      const group = element("div", "tools");
      this.add(group);
      this.#group = group;
    }
    this.#group.append(card.element);
    this.#tools.set(call.id, card);
  }

  /** @param {ToolCall} call */
  finishTool(call) {
    if (!this.#tools.has(call.id)) this.callTool(call);
    this.#tools.get(call.id)?.finish(call, this.#now);
    this.#endGroupWhenDone();
  }

  /**
   * Show an error.
   *
   * @param {string} message
   * @param {string} [code]
   */
  fail(message, code) {
    const failure = element("p", "failure", message);
    if (code) failure.append(" ", element("code", "", code));
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
    for (const tool of this.#tools.values()) tool.close(this.#now ?? 0);
  }

  /** @param {TextPart | ThinkingFold} part */
  #grow(part) {
    this.add(part.element);
    this.#open = part;
  }

  #closeOpen() {
    this.#open?.close(this.#now ?? 0);
    this.#open = undefined;
  }

  #endGroupWhenDone() {
    const running = [...this.#tools.values()].some((tool) => tool.running);
    if (!running) this.#group = undefined;
  }
}
