/**
 * The list of all events as they came: id, time, type, and their JSON on demand.
 *
 * Only the newest are in the page, and of them the browser draws those in view; all can
 * be copied and downloaded.
 */

import { copyButton } from "./clipboard.js";
import { element } from "./dom.js";
import { entryOf } from "./event-entry.js";
import { EventFilter } from "./event-filter.js";
import { count, number } from "./format.js";
import { onNextFrame } from "./frames.js";
import { icon } from "./icons.js";

/** @typedef {import("./agent-client.js").AgentEvent} AgentEvent */
/** @typedef {{event: AgentEvent, ms: number}} Arrival */

/** Older events leave the list. */
const CAPACITY = 5000;
/** In a flood the page must still answer. */
const PER_FRAME = 200;
/** So near to the end, in px, a reader counts as being there. */
const NEAR = 40;

export class EventLog {
  #list;
  #counter;
  #tools;
  #filter = new EventFilter(() => this.#refill());
  #pause = element("button", "tool-button");
  /** @type {Arrival[]} */
  #all = [];
  /** How many of them the list has taken in. */
  #listed = 0;
  #start = NaN;
  #paused = false;

  /**
   * @param {HTMLElement} list
   * @param {HTMLElement} counter
   */
  constructor(list, counter) {
    this.#list = list;
    this.#counter = counter;
    this.#pause.type = "button";
    this.#pause.addEventListener("click", () => this.#setPaused(!this.#paused));
    const download = element("button", "tool-button", icon("download"), "Download");
    download.type = "button";
    download.addEventListener("click", () => save(this.jsonl, "events.jsonl"));
    const copy = copyButton("Copy", () => this.jsonl);
    copy.title = download.title = "All events, as lines of JSON";
    const actions = element("div", "event-actions", this.#pause, copy, download);
    this.#tools = element("div", "event-tools", this.#filter.element, actions);
    this.#tools.hidden = true;
    list.before(this.#tools);
    this.#setPaused(false);
  }

  /** All that came, a line each. */
  get jsonl() {
    const lines = this.#all.map(({ event: { id, type, data }, ms }) =>
      JSON.stringify({ id, type, offset_ms: ms, data }),
    );
    return lines.join("\n") + "\n";
  }

  /** Times are counted from now on. */
  begin() {
    this.#start = NaN;
  }

  /** @param {AgentEvent} event */
  add(event) {
    const { timestamp } = event.data;
    // The first event of a run that is read again is older than the connection's own.
    if (!(timestamp >= this.#start)) this.#start = timestamp;
    this.#all.push({ event, ms: timestamp - this.#start });
    this.#filter.count(event.type);
    onNextFrame(this.#flush);
  }

  clear() {
    this.#all = [];
    this.#listed = 0;
    this.#filter.clear();
    this.#list.replaceChildren();
    this.#setPaused(false);
    this.#show();
  }

  #flush = () => {
    this.#filter.draw();
    this.#show();
    if (this.#paused) return;
    const atEnd = this.#isAtEnd();
    this.#listed = Math.max(this.#listed, this.#all.length - CAPACITY);
    const next = this.#all.slice(this.#listed, this.#listed + PER_FRAME);
    this.#listed += next.length;
    this.#append(next);
    if (this.#listed < this.#all.length) onNextFrame(this.#flush);
    if (atEnd) this.#list.scrollTop = this.#list.scrollHeight;
  };

  /** @param {Arrival[]} arrivals */
  #append(arrivals) {
    const shown = arrivals.filter(({ event }) => this.#filter.shows(event.type));
    this.#list.append(...shown.map(({ event, ms }) => entryOf(event, ms)));
    const extra = this.#list.childElementCount - CAPACITY;
    for (let gone = 0; gone < extra; gone += 1) this.#list.firstChild?.remove();
  }

  /** Another choice of types is shown. */
  #refill() {
    this.#list.replaceChildren();
    const until = this.#listed;
    this.#append(this.#all.slice(Math.max(0, until - CAPACITY), until));
    this.#list.scrollTop = this.#list.scrollHeight;
  }

  /** @param {boolean} paused */
  #setPaused(paused) {
    this.#paused = paused;
    const label = paused ? "Go on" : "Hold";
    this.#pause.replaceChildren(icon(paused ? "resume" : "pause"), label);
    this.#pause.ariaPressed = String(paused);
    this.#pause.title = paused ? "List what has come meanwhile" : "Keep the list as it is";
    onNextFrame(this.#flush);
  }

  #isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#list;
    return scrollHeight - scrollTop - clientHeight < NEAR;
  }

  #show() {
    const total = this.#all.length;
    const events = total ? count(total, "event") : "none yet";
    const older = total > CAPACITY ? `, the last ${number(CAPACITY)} shown` : "";
    const held = this.#paused ? `, ${number(total - this.#listed)} held` : "";
    this.#counter.textContent = events + older + held;
    this.#tools.hidden = total === 0;
  }
}

/**
 * @param {string} text
 * @param {string} name
 */
function save(text, name) {
  const url = URL.createObjectURL(new Blob([text], { type: "application/jsonl" }));
  const link = element("a");
  link.href = url;
  link.download = name;
  link.click();
  URL.revokeObjectURL(url);
}
