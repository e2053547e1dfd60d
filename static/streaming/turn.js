/** One prompt and what came of it, part by part in the order it came. */

import { element } from "./dom.js";
import { count, duration, number } from "./format.js";
import { StreamedMarkdown } from "./streamed-markdown.js";
import { ThinkingFold } from "./thinking-fold.js";
import { ToolCard } from "./tool-card.js";

/** @typedef {import("./agent-client.js").AgentEvent} AgentEvent */

/** What a reader should know of an answer that did not simply end. */
const STOP_NOTES = new Map([
  ["max_tokens", "The answer was cut off at the token limit."],
  ["max_iterations", "The iterations were used up; the agent had to answer with what it had."],
  ["refusal", "The model declined to answer."],
  ["cancelled", "Stopped. What had come is kept."],
]);

class TextPart {
  #text = new StreamedMarkdown();
  element = this.#text.element;

  /** @param {string} text */
  append(text) {
    this.element.dataset.live = "";
    this.#text.append(text);
  }

  close() {
    delete this.element.dataset.live;
  }

  get text() {
    return this.#text.text;
  }
}

export class Turn {
  #answer = element("div", "answer", element("h3", "visually-hidden", "Agent"));
  /** @type {TextPart[]} */
  #texts = [];
  /** @type {Map<string, ToolCard>} */
  #tools = new Map();
  /** @type {TextPart | ThinkingFold | undefined} The part that still grows. */
  #open;
  #lastTimestamp = 0;

  /** @param {string} prompt */
  constructor(prompt) {
    const title = element("h3", "visually-hidden", "You");
    const bubble = element("div", "prompt", title, element("p", "", prompt));
    this.element = element("li", "turn", bubble, this.#answer);
    this.element.dataset.waiting = "";
  }

  /** The text of the answer so far. */
  get text() {
    return this.#texts.map(({ text }) => text).join("\n");
  }

  /** @param {AgentEvent} event */
  receive({ type, data }) {
    this.#lastTimestamp = data.timestamp;
    if (type === "thinking") this.#think(data.thinking_step);
    else if (type === "content") this.#write(data.content);
    else if (type === "tool_call") this.#callTool(data.tool_call);
    else if (type === "tool_result") this.#finishTool(data.tool_call);
    else if (type === "complete") this.#summarize(data.metadata);
    else if (type === "error") this.fail(data.error, data.metadata?.code);
  }

  /** Nothing more will come. */
  close() {
    this.#closeOpen();
    for (const tool of this.#tools.values()) tool.close();
    delete this.element.dataset.waiting;
  }

  /**
   * Say what went wrong.
   *
   * @param {string} message
   * @param {string} [code]
   */
  fail(message, code) {
    const failure = element("p", "failure", message);
    if (code) failure.append(" ", element("code", "", code));
    this.#add(failure);
  }

  /** @param {string} text */
  note(text) {
    this.#add(element("p", "note", text));
  }

  /** @param {string} text */
  #think(text) {
    if (!(this.#open instanceof ThinkingFold)) {
      this.#grow(new ThinkingFold(this.#lastTimestamp));
    }
    this.#open?.append(text);
  }

  /** @param {string} text */
  #write(text) {
    if (!(this.#open instanceof TextPart)) {
      const part = new TextPart();
      this.#texts.push(part);
      this.#grow(part);
    }
    this.#open?.append(text);
  }

  /** @param {import("./tool-card.js").ToolCall} call */
  #callTool(call) {
    const card = new ToolCard(call, this.#lastTimestamp);
    this.#tools.set(call.id, card);
    this.#add(card.element);
  }

  /** @param {import("./tool-card.js").ToolCall} call */
  #finishTool(call) {
    if (!this.#tools.has(call.id)) this.#callTool(call);
    this.#tools.get(call.id)?.finish(call, this.#lastTimestamp);
  }

  /** @param {{stop_reason: string, usage: any, execution_summary: any}} outcome */
  #summarize({ stop_reason, usage, execution_summary: summary }) {
    const note = STOP_NOTES.get(stop_reason);
    if (note) this.note(note);
    const { input_tokens, output_tokens, total_tokens } = usage;
    const facts = [
      duration(summary.execution_time_ms),
      count(summary.llm_calls, "model call"),
      count(summary.tool_calls, "tool call"),
      `${count(total_tokens, "token")} (${number(input_tokens)} in, ${number(output_tokens)} out)`,
    ];
    this.#add(element("p", "summary", facts.join(" · ")));
  }

  /** @param {TextPart | ThinkingFold} part */
  #grow(part) {
    this.#add(part.element);
    this.#open = part;
  }

  /** @param {HTMLElement} part */
  #add(part) {
    this.#closeOpen();
    delete this.element.dataset.waiting;
    this.#answer.append(part);
  }

  #closeOpen() {
    this.#open?.close(this.#lastTimestamp);
    this.#open = undefined;
  }
}
