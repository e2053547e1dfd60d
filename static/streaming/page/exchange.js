/** An exchange: a prompt and the answer to it. */

import { Answer } from "./answer.js";
import { copyButton } from "./clipboard.js";
import { element } from "./dom.js";
import { count, duration, number } from "./format.js";
import { icon } from "./icons.js";

/** @typedef {import("../client/agent-client.js").AgentEvent} AgentEvent */
/** @typedef {import("../client/agent-client.js").RunRequest} RunRequest */
/** @typedef {import("../client/agent-types.js").Outcome} Outcome */
/** @typedef {import("../client/agent-types.js").RunOutcome} RunOutcome */

/**
 * The actions offered for an ended exchange; an omitted one is not offered.
 *
 * @typedef {object} ExchangeCommands
 * @property {(exchange: Exchange) => void} [regenerate] of the last exchange only
 * @property {(exchange: Exchange) => string} [curl] the command that sends the same request
 */

/** Notes under answers that did not end normally, by stop reason. */
const STOP_NOTES = new Map([
  ["max_tokens", "The answer was cut off at the token limit."],
  ["max_iterations", "The iterations were used up, so the agent answered without more tool calls."],
  ["refusal", "The model declined to answer."],
  ["cancelled", "Stopped. The partial answer is saved."],
]);

export class Exchange {
  #answer = new Answer();
  #commands;
  #bar = element("div", "exchange-bar");

  /**
   * @param {RunRequest} request
   * @param {ExchangeCommands} [commands]
   */
  constructor(request, commands = {}) {
    this.request = request;
    this.#commands = commands;
    const title = element("h3", "visually-hidden", "You");
    const bubble = element("div", "prompt", title, element("p", "", request.input));
    this.element = element("li", "exchange", bubble, this.#answer.element);
    this.element.dataset.waiting = "";
  }

  /** Text of the answer so far. */
  get text() {
    return this.#answer.text;
  }

  /** @param {AgentEvent} event */
  receive({ type, data }) {
    const answer = this.#answer;
    answer.now = data.timestamp;
    if (type !== "connected") delete this.element.dataset.waiting;
    if (type === "thinking") answer.think(data.thinking_step);
    else if (type === "content") answer.write(data.content);
    else if (type === "tool_call") answer.callTool(data.tool_call);
    else if (type === "tool_result") answer.finishTool(data.tool_call);
    else if (type === "complete") this.#summarize(data.metadata);
    else if (type === "error") answer.fail(data.error, data.metadata?.code);
  }

  /**
   * Show a stored part of the answer, without times.
   *
   * @param {any} part
   */
  restore(part) {
    const answer = this.#answer;
    if (part.type === "thinking") answer.think(part.text);
    else if (part.type === "text") answer.write(part.text);
    else if (part.type === "tool_call") answer.callTool(part);
    else if (part.type === "tool_result") {
      answer.finishTool({ ...part, status: part.is_error ? "error" : "completed" });
    }
  }

  /**
   * Close the exchange after its last event.
   *
   * @param {RunOutcome} [outcome] of a stored run, whose last event was not received
   */
  close(outcome) {
    const stop_reason = outcome?.execution_summary.stop_reason;
    if (outcome?.error) this.fail(outcome.error.message, outcome.error.code);
    else if (outcome && stop_reason) this.#summarize({ ...outcome, stop_reason });
    this.#answer.close();
    delete this.element.dataset.waiting;
    this.#showActions();
  }

  /**
   * Show an error.
   *
   * @param {string} message
   * @param {string} [code]
   */
  fail(message, code) {
    this.#answer.fail(message, code);
  }

  /**
   * Show a button with a suggested action.
   *
   * @param {string} label
   * @param {() => void} act
   */
  suggest(label, act) {
    const button = element("button", "proposal", label);
    button.type = "button";
    button.addEventListener("click", act);
    this.#answer.add(button);
  }

  /** @param {string} text */
  note(text) {
    this.#answer.note(text);
  }

  /** @param {Outcome} outcome */
  #summarize({ stop_reason, usage, execution_summary: summary }) {
    const note = STOP_NOTES.get(stop_reason);
    if (note) this.note(note);
    const { input_tokens, output_tokens, total_tokens } = usage;
    const facts = [
      duration(summary.execution_time_ms ?? 0),
      count(summary.llm_calls, "model call"),
      ...(summary.tool_calls ? [count(summary.tool_calls, "tool call")] : []),
      `${count(total_tokens, "token")} (${number(input_tokens)} in, ${number(output_tokens)} out)`,
    ];
    this.#bar.append(element("p", "summary", facts.join(" · ")));
  }

  /** Show the buttons of the available actions. */
  #showActions() {
    const { regenerate, curl } = this.#commands;
    if (this.text) this.#bar.append(copyButton("Copy", () => this.text));
    if (regenerate) {
      const button = element("button", "tool-button regenerate", icon("again"), "Regenerate");
      button.type = "button";
      button.addEventListener("click", () => regenerate(this));
      this.#bar.append(button);
    }
    if (curl) this.#bar.append(copyButton("Copy as curl", () => curl(this), "curl"));
    if (this.#bar.childElementCount) this.#answer.element.append(this.#bar);
  }
}
