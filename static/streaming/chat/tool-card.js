/** A tool call in the transcript: its name and state, and its arguments and result below. */

import { element } from "./dom.js";
import { prettyJsonText } from "./json.js";
import { Stopwatch } from "./stopwatch.js";

/** @import { Language } from "./language.js" */
/** @import { TextKey } from "./texts/english.js" */

/**
 * @typedef {object} ToolCall
 * @property {string} id
 * @property {string} name
 * @property {string} arguments a JSON string
 * @property {string} [status]
 * @property {string} [result]
 */

/** @type {Record<string, TextKey>} */
const LABELS = {
  executing: "toolExecuting",
  completed: "toolCompleted",
  error: "toolError",
  unfinished: "toolUnfinished",
};
/** The same with the time that it took. @type {Record<string, TextKey>} */
const TIMED_LABELS = { completed: "toolCompletedIn", error: "toolErrorIn" };

const LONG = { chars: 600, lines: 10 };

export class ToolCard {
  #language;
  #state = element("span", "tool-state");
  #data = element("dl", "tool-data");
  /** @type {Stopwatch | undefined} */
  #stopwatch;

  /**
   * @param {ToolCall} call
   * @param {Language} language
   * @param {boolean} open true to show the arguments and the result at once
   * @param {number} [timestamp] of its event, in ms; omitted for a stored call
   */
  constructor(call, language, open, timestamp) {
    this.#language = language;
    const name = element("span", "tool-name", call.name);
    const head = element("summary", "tool-head", name, this.#state);
    this.element = element("details", "tool", head, this.#data);
    this.element.open = open;
    this.element.ariaLabel = language.text("toolCall", { name: call.name });
    this.#show("executing", `${language.text("toolExecuting")}…`);
    this.#add("arguments", prettyJsonText(call.arguments));
    if (timestamp === undefined) return;
    this.#stopwatch = new Stopwatch(timestamp, (ms) => {
      this.#show("executing", `${language.text("toolExecuting")}… ${language.seconds(ms)}`);
    });
  }

  get running() {
    return this.element.dataset.state === "executing";
  }

  /**
   * @param {ToolCall} call
   * @param {number} [timestamp] of its event, in ms
   */
  finish({ status = "completed", result = "" }, timestamp) {
    const language = this.#language;
    const ms = timestamp === undefined ? undefined : this.#stopwatch?.stop(timestamp);
    const timed = ms === undefined ? undefined : TIMED_LABELS[status];
    const time = language.duration(ms ?? 0);
    this.#show(status, timed && language.text(timed, { time }));
    this.#add(status === "error" ? "error" : "result", prettyJsonText(result));
  }

  /**
   * Mark the call as unfinished if the run ended before the tool.
   *
   * @param {number} timestamp
   */
  close(timestamp) {
    if (!this.running) return;
    this.#stopwatch?.stop(timestamp);
    this.#show("unfinished");
  }

  /**
   * @param {string} state
   * @param {string} [label]
   */
  #show(state, label) {
    this.element.dataset.state = state;
    const known = LABELS[state];
    this.#state.textContent = label ?? (known ? this.#language.text(known) : state);
  }

  /**
   * @param {"arguments" | "result" | "error"} term
   * @param {string} text
   */
  #add(term, text) {
    const shown = element("pre", "", text);
    const description = element("dd", "", shown);
    const lines = text.split("\n").length;
    if (lines > LONG.lines) {
      description.append(this.#showAllButton(shown, "showAllLines", lines));
    } else if (text.length > LONG.chars) {
      description.append(this.#showAllButton(shown, "showAllCharacters", text.length));
    }
    this.#data.append(element("dt", "", this.#language.text(term)), description);
  }

  /**
   * @param {HTMLElement} shown
   * @param {TextKey} label
   * @param {number} count
   */
  #showAllButton(shown, label, count) {
    const button = element("button", "show-all");
    button.type = "button";
    const fold = (/** @type {boolean} */ folded) => {
      shown.classList.toggle("folded", folded);
      button.ariaExpanded = String(!folded);
      button.textContent = this.#language.text(folded ? label : "showLess", { count });
    };
    button.addEventListener("click", () => fold(!shown.classList.contains("folded")));
    fold(true);
    return button;
  }
}
