/** A run drawn: thinking, tools and text as bars along its time. */

import { element } from "./dom.js";
import { duration, number } from "./format.js";

/** @typedef {import("./run-spans.js").Span} Span */
/** @typedef {import("./run-spans.js").RunSpans} RunSpans */

const SVG = "http://www.w3.org/2000/svg";
/** In px; along the time the drawing's unit is a millisecond. */
const LANE = 10;
const BAR = 6;
/** More tools at once than that share lanes. */
const MOST_LANES = 4;
/** So many spans are told in words. */
const MOST_TOLD = 20;

export class RunTimeline {
  #drawing = document.createElementNS(SVG, "svg");
  #end = element("span");
  /** @type {Map<Span, SVGRectElement>} */
  #bars = new Map();
  element = element("figure", "timeline");

  constructor() {
    this.#drawing.setAttribute("preserveAspectRatio", "none");
    this.#drawing.setAttribute("role", "img");
    const axis = element("figcaption", "timeline-axis", element("span", "", "0"), this.#end);
    axis.ariaHidden = "true";
    this.element.append(this.#drawing, axis);
  }

  clear() {
    this.#bars.clear();
    this.#drawing.replaceChildren();
    this.element.hidden = true;
  }

  /**
   * @param {RunSpans} spans
   * @param {number} length of the whole run so far, in ms
   */
  draw({ all }, length) {
    if (!all.length) return this.clear();
    const lanes = lanesOf(all);
    for (const span of all) this.#place(span, lanes.get(span) ?? 0, length);
    const height = (Math.max(...lanes.values()) + 1) * LANE;
    setAttribute(this.#drawing, "viewBox", `0 0 ${Math.max(length, 1)} ${height}`);
    setAttribute(this.#drawing, "height", String(height));
    setAttribute(this.#drawing, "aria-label", `Timeline of the run: ${told(all)}`);
    this.#end.textContent = duration(length);
    this.element.hidden = false;
  }

  /**
   * @param {Span} span
   * @param {number} lane
   * @param {number} length
   */
  #place(span, lane, length) {
    const bar = this.#bars.get(span) ?? this.#add(span);
    const end = span.open ? length : span.end;
    setAttribute(bar, "x", span.start.toFixed());
    setAttribute(bar, "y", String(lane * LANE + (LANE - BAR) / 2));
    setAttribute(bar, "width", (end - span.start).toFixed());
    setAttribute(bar, "class", `bar-${span.failed ? "failed" : span.kind}`);
    const title = bar.firstElementChild;
    if (title && title.textContent !== said(span)) title.textContent = said(span);
  }

  /** @param {Span} span */
  #add(span) {
    const bar = document.createElementNS(SVG, "rect");
    bar.setAttribute("height", String(BAR));
    bar.append(document.createElementNS(SVG, "title"));
    this.#bars.set(span, bar);
    return this.#drawing.appendChild(bar);
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

/** @param {Span[]} spans */
function told(spans) {
  const first = spans.slice(0, MOST_TOLD).map(said).join(", ");
  const more = spans.length - MOST_TOLD;
  return more > 0 ? `${first}, and ${number(more)} more` : first;
}

/** @param {Span} span */
function said({ label, start, end, open, failed }) {
  const time = open ? "goes on" : duration(end - start);
  return `${label} ${failed ? "failed after " : ""}${time}`;
}

/**
 * What does not change is not touched, so that nothing is laid out anew.
 *
 * @param {Element} node
 * @param {string} name
 * @param {string} value
 */
function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}
