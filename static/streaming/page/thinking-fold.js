/** A section of reasoning, collapsed until it is opened. */

import { element } from "./dom.js";
import { duration, seconds } from "./format.js";
import { icon } from "./icons.js";
import { Stopwatch } from "./stopwatch.js";
import { StreamedText } from "./streamed-text.js";

/** Shorter times are shown as "a moment". */
const MOMENT_MS = 100;

export class ThinkingFold {
  #text = new StreamedText("thinking-text");
  #label = element("span", "", "Thought");
  /** @type {Stopwatch | undefined} */
  #stopwatch;

  /** @param {number} [timestamp] of the first event, in ms; omitted for a stored part */
  constructor(timestamp) {
    const summary = element("summary", "", icon("chevron"), this.#label);
    this.element = element("details", "thinking", summary, this.#text.element);
    if (timestamp !== undefined) this.#begin(timestamp);
  }

  /**
   * @param {string} text
   * @param {number} [timestamp]
   */
  append(text, timestamp) {
    this.#text.append(text);
    if (timestamp !== undefined) this.#stopwatch?.update(timestamp);
  }

  /** @param {number} timestamp of the next event, in ms */
  close(timestamp) {
    if (!this.#stopwatch) return;
    delete this.element.dataset.live;
    const ms = this.#stopwatch.stop(timestamp);
    this.#label.textContent = `Thought for ${ms < MOMENT_MS ? "a moment" : duration(ms)}`;
    this.#stopwatch = undefined;
  }

  /** @param {number} timestamp */
  #begin(timestamp) {
    this.element.dataset.live = "";
    this.#label.textContent = "Thinking…";
    this.#stopwatch = new Stopwatch(timestamp, (ms) => {
      this.#label.textContent = `Thinking… ${seconds(ms)}`;
    });
  }
}
