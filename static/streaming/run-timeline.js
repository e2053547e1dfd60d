/** A run drawn: thinking, tools and text as bars along its time. */

import { element } from "./dom.js";
import { duration } from "./format.js";

/** @typedef {import("./run-spans.js").Span} Span */
/** @typedef {import("./run-spans.js").RunSpans} RunSpans */

const SVG = "http://www.w3.org/2000/svg";
/** In the drawing's own units, which are stretched to its width. */
const WIDTH = 1000;
const NARROWEST = 6;
const LANE = 10;
const BAR = 7;
/** More tools at once than that share lanes. */
const MOST_LANES = 4;

export class RunTimeline {
  #drawing = document.createElementNS(SVG, "svg");
  #end = element("span");
  element = element("figure", "timeline");

  constructor() {
    this.#drawing.setAttribute("preserveAspectRatio", "none");
    this.#drawing.setAttribute("role", "img");
    const axis = element("figcaption", "timeline-axis", element("span", "", "0"), this.#end);
    axis.ariaHidden = "true";
    this.element.append(this.#drawing, axis);
    this.element.hidden = true;
  }

  /**
   * @param {RunSpans} spans
   * @param {number} length of the whole run so far, in ms
   */
  draw({ all }, length) {
    this.element.hidden = all.length === 0;
    if (!all.length) return;
    const lanes = lanesOf(all);
    const height = (Math.max(...lanes.values()) + 1) * LANE;
    const scale = WIDTH / Math.max(length, 1);
    this.#drawing.setAttribute("viewBox", `0 0 ${WIDTH} ${height}`);
    this.#drawing.style.height = `${height}px`;
    const bars = all.map((span) => bar(span, lanes.get(span) ?? 0, scale, length));
    this.#drawing.replaceChildren(...bars);
    this.#drawing.setAttribute("aria-label", `Timeline of the run: ${all.map(said).join(", ")}`);
    this.#end.textContent = duration(length);
  }
}

/**
 * Thinking and text share the first lane, as they take turns; tools that run at the
 * same time lie below each other.
 *
 * @param {Span[]} spans
 */
function lanesOf(spans) {
  /** @type {Map<Span, number>} */
  const lanes = new Map();
  /** @type {number[]} when each lane of tools is free again */
  const free = [];
  for (const span of spans) {
    if (span.kind !== "tool") lanes.set(span, 0);
    else {
      const found = free.findIndex((end) => end <= span.start);
      const lane = found >= 0 ? found : Math.min(free.length, MOST_LANES - 1);
      free[lane] = span.open ? Infinity : Math.max(span.end, span.start + 1);
      lanes.set(span, lane + 1);
    }
  }
  return lanes;
}

/**
 * @param {Span} span
 * @param {number} lane
 * @param {number} scale
 * @param {number} length
 */
function bar(span, lane, scale, length) {
  const end = span.open ? length : span.end;
  const width = Math.max((end - span.start) * scale, NARROWEST);
  const rect = document.createElementNS(SVG, "rect");
  const place = { x: Math.min(span.start * scale, WIDTH - width), y: lane * LANE, width, height: BAR };
  for (const [name, value] of Object.entries(place)) rect.setAttribute(name, value.toFixed(1));
  rect.setAttribute("class", `bar-${span.failed ? "failed" : span.kind}`);
  const title = document.createElementNS(SVG, "title");
  title.textContent = said(span);
  rect.append(title);
  return rect;
}

/** @param {Span} span */
function said({ label, start, end, open, failed }) {
  const time = open ? "goes on" : duration(end - start);
  return `${label} ${failed ? "failed after " : ""}${time}`;
}
