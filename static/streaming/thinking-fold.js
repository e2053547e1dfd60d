/** A stretch of reasoning, folded away until someone wants to read it. */

import { element } from "./dom.js";
import { duration } from "./format.js";
import { StreamedText } from "./streamed-text.js";

export class ThinkingFold {
  #text = new StreamedText();
  #summary = element("summary", "", "Thinking…");
  #startedAt;

  /** @param {number} timestamp of its first event, in ms */
  constructor(timestamp) {
    this.#startedAt = timestamp;
    const body = element("p", "thinking-text", this.#text.node);
    this.element = element("details", "thinking", this.#summary, body);
    this.element.dataset.live = "";
  }

  /** @param {string} text */
  append(text) {
    this.#text.append(text);
  }

  /** @param {number} timestamp of the event that came after it, in ms */
  close(timestamp) {
    delete this.element.dataset.live;
    this.#summary.textContent = `Thought for ${duration(timestamp - this.#startedAt)}`;
  }
}
