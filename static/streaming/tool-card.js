/** A tool call in the transcript: its name, arguments, result and state. */

import { element } from "./dom.js";
import { duration, prettyJsonText } from "./format.js";

/**
 * @typedef {object} ToolCall
 * @property {string} id
 * @property {string} name
 * @property {string} arguments a JSON string
 * @property {string} status
 * @property {string} [result]
 */

/** @type {Record<string, string>} */
const LABELS = {
  executing: "Running",
  completed: "Done",
  error: "Failed",
  unfinished: "Not finished",
};

const LONG = { chars: 600, lines: 12 };

export class ToolCard {
  #state = element("span", "tool-state");
  #exchange = element("dl", "tool-exchange");
  #startedAt;

  /**
   * @param {ToolCall} call
   * @param {number} timestamp of its event, in ms
   */
  constructor(call, timestamp) {
    this.#startedAt = timestamp;
    const name = element("span", "tool-name", call.name);
    const head = element("p", "tool-head", name, this.#state);
    this.element = element("div", "tool", head, this.#exchange);
    this.element.role = "group";
    this.element.ariaLabel = `Tool call: ${call.name}`;
    this.#show("executing");
    this.#add("Arguments", prettyJsonText(call.arguments));
  }

  /**
   * @param {ToolCall} call
   * @param {number} timestamp of its event, in ms
   */
  finish(call, timestamp) {
    this.#show(call.status, timestamp - this.#startedAt);
    this.#add("Result", prettyJsonText(call.result ?? ""));
  }

  /** The run ended before the tool did. */
  close() {
    if (this.element.dataset.state === "executing") this.#show("unfinished");
  }

  /**
   * @param {string} state
   * @param {number} [ms]
   */
  #show(state, ms) {
    this.element.dataset.state = state;
    const label = LABELS[state] ?? state;
    const time = ms === undefined ? "" : ` in ${duration(ms)}`;
    this.#state.textContent = label + time;
  }

  /**
   * @param {string} term
   * @param {string} text
   */
  #add(term, text) {
    const shown = element("pre", "", text);
    if (isLong(text)) {
      shown.className = "long";
      shown.tabIndex = 0; // it scrolls, which must not take a mouse
    }
    this.#exchange.append(element("dt", "", term), element("dd", "", shown));
  }
}

/** @param {string} text */
function isLong(text) {
  return text.length > LONG.chars || text.split("\n").length > LONG.lines;
}
