/**
 * The list of all events in order of arrival: id, time, type, and their JSON on demand.
 *
 * The document holds only the newest events, grouped into pages so that the browser lays out
 * only those in view. All events can be copied and downloaded.
 */

import { atFrameEnd, onNextFrame } from "../chat/animation-frames.js";
import { copyButton } from "../chat/clipboard.js";
import { element } from "../chat/dom.js";
import { EndFollower } from "../chat/end-follower.js";
import { entryOf } from "./event-entry.js";
import { EventFilter } from "./event-filter.js";
import { icon } from "../chat/icons.js";
import { english } from "../chat/language.js";

/** @import { AgentEvent } from "../client/agent-client.js" */
/** @import { RestartedEvent } from "../client/agent-types.js" */
/** @typedef {{event: AgentEvent, ms: number, isVoid?: boolean}} Arrival */

/** Maximum number of listed events; older ones are removed. */
const CAPACITY = 5000;
const PAGE = 50;
/** Limit that keeps the page responsive during bursts. */
const PER_FRAME = 200;

export class EventLog {
  #list;
  #counter;
  #tools;
  #filter = new EventFilter(() => this.#refill());
  #pause = element("button", "tool-button");
  /** @type {Arrival[]} */
  #all = [];
  /** Number of events added to the list. */
  #listed = 0;
  #start = NaN;
  /** @type {number | undefined} Number of events to list while the list is held. */
  #held;
  #endFollower = new EndFollower();

  /**
   * @param {HTMLElement} list
   * @param {HTMLElement} counter
   */
  constructor(list, counter) {
    this.#list = list;
    this.#counter = counter;
    this.#pause.type = "button";
    this.#pause.addEventListener("click", () => this.#hold(this.#held === undefined));
    const download = element("button", "tool-button", icon("download"), "Download");
    download.type = "button";
    download.addEventListener("click", () => save(this.jsonl, "events.jsonl"));
    const copy = copyButton("Copy", () => this.jsonl);
    copy.title = download.title = "All events, as lines of JSON";
    const actions = element("div", "event-actions", this.#pause, copy, download);
    this.#tools = element("div", "event-tools", this.#filter.element, actions);
    this.#tools.hidden = true;
    list.before(this.#tools);
    list.addEventListener("scroll", this.#onScroll, { passive: true });
    new ResizeObserver(this.#keepEnd).observe(list);
    this.#hold(false);
  }

  /** All events, one JSON line each. */
  get jsonl() {
    const lines = this.#all.map(({ event: { id, type, data }, ms }) =>
      JSON.stringify({ id, type, offset_ms: ms, data }),
    );
    return lines.join("\n") + "\n";
  }

  /** Count times from the next event. */
  begin() {
    this.#start = NaN;
  }

  /** @param {AgentEvent} event */
  add(event) {
    const { timestamp } = event.data;
    // In a replay, the run's first event is older than `connected`.
    if (!(timestamp >= this.#start)) this.#start = timestamp;
    this.#all.push({ event, ms: timestamp - this.#start });
    this.#filter.count(event.type);
    if (event.type === "restarted") this.#strike(event);
    onNextFrame(this.#flush);
  }

  clear() {
    this.#all = [];
    this.#filter.clear();
    this.#hold(false);
    this.#refill();
  }

  /** Mark the events that a restart made void. @param {RestartedEvent} event */
  #strike({ id, data }) {
    const [runId, number] = id.split(":");
    const isVoid = (/** @type {string} */ other) => {
      const [ofRun, sent] = other.split(":");
      const after = Number(sent) > data.metadata.discard_after;
      return ofRun === runId && after && Number(sent) < Number(number);
    };
    for (const arrival of this.#all) arrival.isVoid ||= isVoid(arrival.event.id);
    for (const entry of this.#list.querySelectorAll(".event")) {
      if (isVoid(entry.getAttribute("data-id") ?? "")) entry.toggleAttribute("data-void", true);
    }
  }

  #flush = () => {
    this.#filter.draw();
    this.#show();
    const until = this.#held ?? this.#all.length;
    if (this.#listed === until) return;
    this.#listed = Math.max(this.#listed, until - CAPACITY);
    const next = this.#all.slice(this.#listed, Math.min(until, this.#listed + PER_FRAME));
    this.#listed += next.length;
    this.#append(next);
    if (this.#listed < until) onNextFrame(this.#flush);
    atFrameEnd(this.#keepEnd);
  };

  /** Scroll to the end, which also moves when pages with estimated sizes are laid out. */
  #keepEnd = () => {
    if (!this.#endFollower.following) return;
    this.#list.scrollTop = this.#list.scrollHeight;
    this.#endFollower.shown(this.#list.scrollTop);
  };

  /** @param {Arrival[]} arrivals */
  #append(arrivals) {
    const shown = arrivals.filter(({ event }) => this.#filter.shows(event.type));
    for (const { event, ms, isVoid = false } of shown) {
      const entry = entryOf(event, ms);
      entry.toggleAttribute("data-void", isVoid);
      this.#page().append(entry);
    }
    while (this.#list.childElementCount > CAPACITY / PAGE) this.#list.firstChild?.remove();
  }

  /** Return the page for the next entry. */
  #page() {
    const last = this.#list.lastElementChild;
    if (last && last.childElementCount < PAGE) return last;
    const page = element("div", "event-page");
    page.role = "none";
    this.#list.append(page);
    return page;
  }

  /** Rebuild the list. */
  #refill() {
    this.#list.replaceChildren();
    this.#listed = 0;
    this.#endFollower.following = true;
    onNextFrame(this.#flush);
  }

  /** @param {boolean} hold */
  #hold(hold) {
    this.#held = hold ? this.#listed : undefined;
    this.#pause.replaceChildren(icon(hold ? "resume" : "pause"), hold ? "Continue" : "Hold");
    this.#pause.title = hold ? "List the events received meanwhile" : "Stop adding events";
    onNextFrame(this.#flush);
  }

  #onScroll = () => {
    const { scrollHeight, scrollTop, clientHeight } = this.#list;
    this.#endFollower.scrolled(scrollTop, scrollHeight - scrollTop - clientHeight);
    atFrameEnd(this.#keepEnd);
  };

  #show() {
    const total = this.#all.length;
    const events = total ? english.count(total, "event") : "none yet";
    const older = total > CAPACITY ? ", the newest shown" : "";
    const held = this.#held === undefined ? "" : `, ${english.number(total - this.#held)} held`;
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
