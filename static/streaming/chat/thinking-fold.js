/** A section of reasoning or of a summary, collapsed until it is opened. */

import { element } from "./dom.js";
import { icon } from "./icons.js";
import { Stopwatch } from "./stopwatch.js";
import { StreamedText } from "./streamed-text.js";

/** Shorter times are shown as "a moment". */
const MOMENT_MS = 100;

export class ThinkingFold {
  #text = new StreamedText("thinking-text");
  #language;
  #label;
  /** @type {Stopwatch | undefined} */
  #stopwatch;

  /**
   * @param {import("./language.js").Language} language
   * @param {number} [timestamp] of the first event, in ms; omitted for a stored part
   * @param {string} [label] of a stored part
   */
  constructor(language, timestamp, label = language.text("thought")) {
    this.#language = language;
    this.#label = element("span", "", label);
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

  /** Text so far. */
  get source() {
    return this.#text.source;
  }

  /** @param {number} timestamp of the next event, in ms */
  close(timestamp) {
    if (!this.#stopwatch) return;
    delete this.element.dataset.live;
    const ms = this.#stopwatch.stop(timestamp);
    const language = this.#language;
    const time = ms < MOMENT_MS ? language.text("moment") : language.duration(ms);
    this.#label.textContent = language.text("thoughtFor", { time });
    this.#stopwatch = undefined;
  }

  /** @param {number} timestamp */
  #begin(timestamp) {
    this.element.dataset.live = "";
    const label = this.#language.text("thinking");
    this.#label.textContent = label;
    this.#stopwatch = new Stopwatch(timestamp, (ms) => {
      this.#label.textContent = `${label} ${this.#language.seconds(ms)}`;
    });
  }
}
