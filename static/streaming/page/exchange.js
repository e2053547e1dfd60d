/** One prompt and what came of it. */

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
 * What can be done with a turn that has ended; what is left out is not offered.
 *
 * @typedef {object} TurnCommands
 * @property {(turn: Turn) => void} [regenerate] of the last turn only
 * @property {(turn: Turn) => string} [curl] the command that asks the same
 */

/** What a reader should know of an answer that did not simply end. */
const STOP_NOTES = new Map([
  ["max_tokens", "The answer was cut off at the token limit."],
  ["max_iterations", "The iterations were used up; the agent had to answer with what it had."],
  ["refusal", "The model declined to answer."],
  ["cancelled", "Stopped. What had come is kept."],
]);

export class Turn {
  #answer = new Answer();
  #commands;
  #bar = element("div", "turn-bar");

  /**
   * @param {RunRequest} request
   * @param {TurnCommands} [commands]
   */
  constructor(request, commands = {}) {
    this.request = request;
    this.#commands = commands;
    const title = element("h3", "visually-hidden", "You");
    const bubble = element("div", "prompt", title, element("p", "", request.input));
    this.element = element("li", "turn", bubble, this.#answer.element);
    this.element.dataset.waiting = "";
  }

  /** The text of the answer so far. */
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
   * A part of an answer that is long past.
   *
   * @param {any} part
   */
  recall(part) {
    const answer = this.#answer;
    if (part.type === "thinking") answer.think(part.text);
    else if (part.type === "text") answer.write(part.text);
    else if (part.type === "tool_call") answer.callTool(part);
    else if (part.type === "tool_result") {
      answer.finishTool({ ...part, status: part.is_error ? "error" : "completed" });
    }
  }

  /**
   * Nothing more will come.
   *
   * @param {RunOutcome} [past] what came of it, where its last event was not received
   */
  close(past) {
    const stop_reason = past?.execution_summary.stop_reason;
    if (past?.error) this.fail(past.error.message, past.error.code);
    else if (past && stop_reason) this.#summarize({ ...past, stop_reason });
    this.#answer.close();
    delete this.element.dataset.waiting;
    this.#offer();
  }

  /**
   * Say what went wrong.
   *
   * @param {string} message
   * @param {string} [code]
   */
  fail(message, code) {
    this.#answer.fail(message, code);
  }

  /**
   * Offer a way out.
   *
   * @param {string} label
   * @param {() => void} act
   */
  propose(label, act) {
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

  /** The actions, which come when there is something to act on. */
  #offer() {
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
