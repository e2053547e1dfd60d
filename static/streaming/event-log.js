/** The list of all events as they came: id, time, type, and their JSON on demand. */

import { element } from "./dom.js";
import { count, milliseconds, number, prettyJson } from "./format.js";
import { onNextFrame } from "./frames.js";

/** @typedef {import("./agent-client.js").AgentEvent} AgentEvent */

/** Older events leave the list. */
const CAPACITY = 5000;
/** In a flood the page must still answer. */
const PER_FRAME = 200;
const PREVIEW_CHARS = 120;
/** So near to the end, in px, a reader counts as being there. */
const NEAR = 40;

export class EventLog {
  #list;
  #counter;
  #total = 0;
  #startedAt = 0;
  /** @type {{event: AgentEvent, ms: number}[]} */
  #waiting = [];

  /**
   * @param {HTMLElement} list
   * @param {HTMLElement} counter
   */
  constructor(list, counter) {
    this.#list = list;
    this.#counter = counter;
  }

  /** Times are counted from now on. */
  begin() {
    this.#startedAt = performance.now();
  }

  /** @param {AgentEvent} event */
  add(event) {
    this.#total += 1;
    this.#waiting.push({ event, ms: performance.now() - this.#startedAt });
    onNextFrame(this.#flush);
  }

  clear() {
    this.#total = 0;
    this.#waiting = [];
    this.#list.replaceChildren();
    this.#showCount();
  }

  #flush = () => {
    const atEnd = this.#isAtEnd();
    this.#waiting.splice(0, this.#waiting.length - CAPACITY);
    this.#list.append(...this.#waiting.splice(0, PER_FRAME).map(entryOf));
    if (this.#waiting.length) onNextFrame(this.#flush);
    while (this.#list.childElementCount > CAPACITY) this.#list.firstChild?.remove();
    this.#showCount();
    if (atEnd) this.#list.scrollTop = this.#list.scrollHeight;
  };

  #isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#list;
    return scrollHeight - scrollTop - clientHeight < NEAR;
  }

  #showCount() {
    const events = this.#total ? count(this.#total, "event") : "none yet";
    const older = this.#total > CAPACITY ? `, the last ${number(CAPACITY)} shown` : "";
    this.#counter.textContent = events + older;
  }
}

/** @param {{event: AgentEvent, ms: number}} arrival */
function entryOf({ event, ms }) {
  const summary = element(
    "summary",
    "",
    element("span", "event-id", event.id.slice(event.id.lastIndexOf(":") + 1) || "–"),
    element("span", "event-time", `+${milliseconds(ms)}`),
    element("span", "event-type", event.type),
    element("span", "event-preview", previewOf(event)),
  );
  const details = element("details", "", summary);
  details.addEventListener("toggle", () => details.append(bodyOf(event)), { once: true });
  const entry = element("li", "event", details);
  entry.dataset.type = event.type;
  return entry;
}

/** @param {AgentEvent} event */
function bodyOf({ id, data }) {
  const body = element("div", "event-body");
  if (id) body.append(element("p", "", `id ${id}`));
  body.append(element("pre", "", prettyJson(data)));
  return body;
}

/** @param {AgentEvent} event */
function previewOf({ data }) {
  const { content, thinking_step, tool_call: call, error, metadata } = data;
  const text =
    content ??
    thinking_step ??
    error ??
    (call && `${call.name} ${call.result ?? call.arguments}`) ??
    metadata?.stop_reason ??
    metadata?.model ??
    "";
  return String(text).slice(0, PREVIEW_CHARS);
}
