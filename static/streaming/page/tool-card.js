/** A tool call in the transcript: its name, arguments, result and state. */

import { element } from "./dom.js";
import { count, duration, prettyJsonText, seconds } from "./format.js";
import { Stopwatch } from "./stopwatch.js";

/**
 * @typedef {object} ToolCall
 * @property {string} id
 * @property {string} name
 * @property {string} arguments a JSON string
 * @property {string} [status]
 * @property {string} [result]
 */

/** @type {Record<string, string>} */
const LABELS = {
  executing: "Running",
  completed: "Done",
  error: "Failed",
  unfinished: "Not finished",
};

const LONG = { chars: 600, lines: 10 };

export class ToolCard {
  #state = element("span", "tool-state");
  #data = element("dl", "tool-data");
  /** @type {Stopwatch | undefined} */
  #stopwatch;

  /**
   * @param {ToolCall} call
   * @param {number} [timestamp] of its event, in ms; omitted for a stored call
   */
  constructor(call, timestamp) {
    const name = element("span", "tool-name", call.name);
    const head = element("p", "tool-head", name, this.#state);
    this.element = element("div", "tool", head, this.#data);
    this.element.role = "group";
    this.element.ariaLabel = `Tool call: ${call.name}`;
    this.#show("executing", "…");
    this.#add("Arguments", prettyJsonText(call.arguments));
    if (timestamp === undefined) return;
    const onTick = (/** @type {number} */ ms) => this.#show("executing", `… ${seconds(ms)}`);
    this.#stopwatch = new Stopwatch(timestamp, onTick);
  }

  get running() {
    return this.element.dataset.state === "executing";
  }

  /**
   * @param {ToolCall} call
   * @param {number} [timestamp] of its event, in ms
   */
  finish({ status = "completed", result = "" }, timestamp) {
    const ms = timestamp !== undefined && this.#stopwatch?.stop(timestamp);
    this.#show(status, ms === undefined || ms === false ? "" : ` in ${duration(ms)}`);
    this.#add(status === "error" ? "Error" : "Result", prettyJsonText(result));
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
   * @param {string} [more]
   */
  #show(state, more = "") {
    this.element.dataset.state = state;
    this.#state.textContent = (LABELS[state] ?? state) + more;
  }

  /**
   * @param {string} term
   * @param {string} text
   */
  #add(term, text) {
    const shown = element("pre", "", text);
    const description = element("dd", "", shown);
    const lines = text.split("\n").length;
    if (text.length > LONG.chars || lines > LONG.lines) {
      const size = lines > LONG.lines ? count(lines, "line") : count(text.length, "character");
      description.append(showAllButton(shown, size));
    }
    this.#data.append(element("dt", "", term), description);
  }
}

/**
 * @param {HTMLElement} shown
 * @param {string} size
 */
function showAllButton(shown, size) {
  const button = element("button", "show-all");
  button.type = "button";
  const fold = (/** @type {boolean} */ folded) => {
    shown.classList.toggle("folded", folded);
    button.ariaExpanded = String(!folded);
    button.textContent = folded ? `Show all ${size}` : "Show less";
  };
  button.addEventListener("click", () => fold(!shown.classList.contains("folded")));
  fold(true);
  return button;
}
