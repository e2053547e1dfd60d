/** An exchange: a prompt and the answer to it. */

import { Answer } from "./answer.js";
import { copyButton } from "./clipboard.js";
import { element } from "./dom.js";
import { sentenceOf } from "./errors.js";
import { icon } from "./icons.js";
import { english } from "./language.js";

/** @typedef {import("./types.js").ExchangeOptions} ExchangeOptions */
/** @import { AgentEvent } from "../client/agent-client.js" */
/** @import { Message, Outcome, RunOutcome } from "../client/agent-types.js" */

/**
 * Notes under answers that did not end normally, by stop reason.
 *
 * @type {Map<string, import("./texts/english.js").TextKey>}
 */
const STOP_NOTES = new Map([
  ["max_tokens", "stopMaxTokens"],
  ["max_iterations", "stopMaxIterations"],
  ["refusal", "stopRefusal"],
  ["cancelled", "stopCancelled"],
  ["budget", "stopBudget"],
]);

/** Maximum length of a question in a label. */
export const TITLE_CHARS = 80;

export class Exchange {
  #answer;
  #options;
  #language;
  #bar = element("div", "exchange-bar");
  #bubble;
  #closed = false;
  /** The run that answers; "" until it is known. */
  runId = "";
  /** The stored question. @type {Message | undefined} */
  message;
  /** The first message of the stored answer. @type {Message | undefined} */
  reply;

  /**
   * @param {import("./types.js").AnyRequest} request
   * @param {ExchangeOptions} [options]
   * @param {string} [question] of a request without input
   */
  constructor(request, options = {}, question = request.input ?? "") {
    this.request = request;
    this.question = question;
    this.#options = options;
    const { language = english, details = false } = options;
    this.#language = language;
    this.#answer = new Answer(language, details);
    const title = element("h3", "visually-hidden", language.text("you"));
    this.#bubble = element("div", "prompt", title, element("p", "", question));
    this.element = element("li", "exchange", this.#bubble, this.#answer.element);
    this.element.dataset.waiting = "";
  }

  /** Text of the answer so far. */
  get text() {
    return this.#answer.text;
  }

  /** @param {AgentEvent} event */
  receive({ id, type, data }) {
    const answer = this.#answer;
    answer.now = data.timestamp;
    answer.number = Number(id.slice(id.lastIndexOf(":") + 1));
    if (type === "connected") this.runId = data.metadata.run_id;
    if (type === "restarted") this.element.dataset.waiting = "";
    else if (type !== "connected") delete this.element.dataset.waiting;
    if (type === "thinking") answer.think(data.thinking_step);
    else if (type === "content") answer.write(data.content);
    else if (type === "tool_call") answer.callTool(data.tool_call);
    else if (type === "tool_result") answer.finishTool(data.tool_call);
    else if (type === "input") this.note(data.input);
    else if (type === "restarted") answer.discardAfter(data.metadata.discard_after);
    else if (type === "complete") this.#summarize(data.metadata);
    else if (type === "error") this.fail({ message: data.error, code: data.metadata?.code });
  }

  /**
   * Record the place among the stored messages, and show whether there are other versions.
   *
   * @param {Message} message
   * @param {Message} [reply]
   */
  place(message, reply) {
    this.message = message;
    this.reply = reply;
    if (message.siblings || reply?.siblings) this.#options.versions?.(this);
  }

  /**
   * Show elements below the question and below the answer.
   *
   * @param {Element[]} question
   * @param {Element[]} answer
   */
  addBelow(question, answer) {
    this.#bubble.after(...question);
    this.#bar.prepend(...answer);
    if (this.#closed) this.#showBar();
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
    else if (part.type === "summary") answer.recall(part.text, part.exchanges);
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
    if (outcome?.error) this.fail(outcome.error);
    else if (outcome && stop_reason) this.#summarize({ ...outcome, stop_reason });
    this.#answer.close();
    delete this.element.dataset.waiting;
    this.#showActions();
  }

  /**
   * Show an error.
   *
   * @param {import("./errors.js").Failure} error
   */
  fail(error) {
    const { details = false } = this.#options;
    this.#answer.fail(sentenceOf(error, this.#language, details), error.code);
  }

  /** Offer actions below. @param {...HTMLElement} buttons */
  suggest(...buttons) {
    if (buttons.length) this.#answer.add(element("div", "proposals", ...buttons));
  }

  /** @param {string} text */
  note(text) {
    this.#answer.note(text);
  }

  /** @param {Outcome} outcome */
  #summarize({ stop_reason, usage, execution_summary: summary }) {
    const note = STOP_NOTES.get(stop_reason);
    const language = this.#language;
    if (note) this.note(language.text(note));
    if (!this.#options.details) return;
    const { input_tokens: input, output_tokens: output, total_tokens } = usage;
    const { llm_calls, tool_calls } = summary;
    const facts = [
      language.duration(summary.execution_time_ms ?? 0),
      language.text("modelCalls", { count: llm_calls }),
      ...(tool_calls ? [language.text("toolCalls", { count: tool_calls })] : []),
      language.text("tokens", { count: total_tokens, input, output }),
    ];
    this.#bar.prepend(element("p", "summary", facts.join(" · ")));
  }

  /** Show the buttons of the available actions. */
  #showActions() {
    const { edit, regenerate, curl } = this.#options;
    const language = this.#language;
    if (this.text) {
      this.#bar.append(copyButton(language.text("copy"), () => this.text, { language }));
    }
    if (regenerate) {
      const label = language.text("regenerate");
      const button = element("button", "tool-button regenerate", icon("again"), label);
      button.type = "button";
      button.addEventListener("click", () => regenerate(this));
      this.#bar.append(button);
    }
    if (curl) {
      const label = language.text("copyCurl");
      this.#bar.append(copyButton(label, () => curl(this), { iconName: "curl", language }));
    }
    if (edit && (this.runId || this.message)) {
      const label = language.text("editNamed", { title: this.question.slice(0, TITLE_CHARS) });
      const button = element("button", "icon-button edit-question", icon("edit"));
      button.type = "button";
      button.ariaLabel = button.title = label;
      button.addEventListener("click", () => edit(this));
      this.#bubble.append(button);
    }
    this.#closed = true;
    this.#showBar();
  }

  #showBar() {
    if (this.#bar.childElementCount) this.#answer.element.append(this.#bar);
  }
}
