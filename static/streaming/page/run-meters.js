/** Figures of a run: estimated while it runs, the server's after it has ended. */

import { onNextFrame } from "../chat/animation-frames.js";
import { element } from "../chat/dom.js";
import { english } from "../chat/language.js";
import { RunSpans } from "./run-spans.js";
import { RunTimeline } from "./run-timeline.js";

/** @import { AgentEvent } from "../client/agent-client.js" */
/** @import { Usage } from "../client/agent-types.js" */

/** Estimate until the server reports token counts. */
const CHARS_PER_TOKEN = 4;
/** Interval of updates; faster changes are unreadable. */
const TICK_MS = 200;
/** Minimum output time for a meaningful speed. */
const SHORTEST_MS = 50;

export class RunMeters {
  element = element("div", "meters");
  #timeline = new RunTimeline();
  #spans = new RunSpans();
  #values = {
    first: meter("First token"),
    speed: meter("Tokens/s"),
    tokens: meter("Tokens in / out"),
    events: meter("Events"),
    reconnects: meter("Reconnects"),
  };
  #events = 0;
  #connections = 0;
  #chars = 0;
  /** @type {Usage | undefined} */
  #usage;
  #timer = 0;
  #receivedAt = 0;

  constructor() {
    const meters = Object.values(this.#values).map(({ parentElement }) => parentElement ?? "");
    this.element.append(element("dl", "meter-values", ...meters), this.#timeline.element);
    this.clear();
  }

  /** Start with the first event of a run or of its replay. */
  begin() {
    this.clear();
    this.#timer = setInterval(() => onNextFrame(this.#draw), TICK_MS);
  }

  /** @param {AgentEvent} event */
  receive(event) {
    const { type, data } = event;
    this.#events += 1;
    this.#receivedAt = performance.now();
    this.#spans.receive(event);
    if (type === "connected") this.#connections += 1;
    else if (type === "thinking") this.#chars += data.thinking_step.length;
    else if (type === "content") this.#chars += data.content.length;
    else if (type === "complete") this.#usage = data.metadata.usage;
    if (data.is_final || this.#events === 1) onNextFrame(this.#draw);
    if (data.is_final) this.end();
  }

  /** Stop after the last event. */
  end() {
    clearInterval(this.#timer);
    this.#timer = 0;
    this.#spans.close();
    onNextFrame(this.#draw);
  }

  clear() {
    clearInterval(this.#timer);
    this.#timer = this.#events = this.#connections = this.#chars = 0;
    this.#usage = undefined;
    this.#spans = new RunSpans();
    this.#timeline.clear();
    this.#draw();
  }

  #draw = () => {
    const { first, speed, tokens, events, reconnects } = this.#values;
    const wait = this.#spans.firstToken;
    first.textContent = wait === undefined ? "–" : english.duration(wait);
    speed.textContent = this.#speed();
    tokens.textContent = this.#tokens();
    events.textContent = english.number(this.#events);
    reconnects.textContent = english.number(Math.max(0, this.#connections - 1));
    const silence = this.#timer ? performance.now() - this.#receivedAt : 0;
    this.#timeline.draw(this.#spans, this.#spans.length + silence);
    this.element.hidden = this.#events === 0;
  };

  #speed() {
    const { outputTime } = this.#spans;
    if (outputTime < SHORTEST_MS) return "–";
    const { output_tokens: reported } = this.#usage ?? {};
    const perSecond = ((reported ?? this.#estimate) / outputTime) * 1000;
    return `${reported === undefined ? "≈ " : ""}${english.number(Math.round(perSecond))}`;
  }

  #tokens() {
    if (!this.#usage) return this.#chars ? `? / ≈ ${english.number(this.#estimate)}` : "–";
    const { input_tokens, output_tokens, reasoning_tokens } = this.#usage;
    const reasoned = `${english.count(reasoning_tokens, "token")} of the output thought`;
    this.#values.tokens.title = reasoning_tokens ? reasoned : "";
    return `${english.number(input_tokens)} / ${english.number(output_tokens)}`;
  }

  get #estimate() {
    return Math.ceil(this.#chars / CHARS_PER_TOKEN);
  }
}

/** @param {string} label */
function meter(label) {
  const value = element("dd");
  element("div", "meter", element("dt", "", label), value);
  return value;
}
