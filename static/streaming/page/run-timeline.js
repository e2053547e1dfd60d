/** A timeline of a run: thinking, tools and text as bars. */

import { element } from "../chat/dom.js";
import { english } from "../chat/language.js";

/** @import { RunSpans, Span } from "./run-spans.js" */

const SVG = "http://www.w3.org/2000/svg";
/** Heights in px; the horizontal unit of the drawing is a millisecond. */
const LANE = 10;
const BAR = 6;
/** Further parallel tools share the last lane. */
const MAX_LANES = 4;
/** Maximum number of spans in the text description. */
const MAX_DESCRIBED = 20;

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
    setAttribute(this.#drawing, "aria-label", `Timeline of the run: ${describeAll(all)}`);
    this.#end.textContent = english.duration(length);
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
    setAttribute(bar, "width", Math.max(1, end - span.start).toFixed()); // without one it is not drawn
    const look = span.discarded ? "discarded" : span.failed ? "failed" : span.kind;
    setAttribute(bar, "class", `bar-${look}`);
    const title = bar.firstElementChild;
    if (title && title.textContent !== describe(span)) title.textContent = describe(span);
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
 * Return each span's lane. Thinking and text alternate and share the first lane; parallel
 * tools are placed below each other.
 *
 * @param {Span[]} spans
 */
function lanesOf(spans) {
  /** @type {Map<Span, number>} */
  const lanes = new Map();
  /** @type {number[]} end of the last span in each tool lane */
  const free = [];
  for (const span of spans) {
    if (span.kind !== "tool") lanes.set(span, 0);
    else {
      const found = free.findIndex((end) => end <= span.start);
      const lane = found >= 0 ? found : Math.min(free.length, MAX_LANES - 1);
      free[lane] = span.open ? Infinity : Math.max(span.end, span.start + 1);
      lanes.set(span, lane + 1);
    }
  }
  return lanes;
}

/** @param {Span[]} spans */
function describeAll(spans) {
  const first = spans.slice(0, MAX_DESCRIBED).map(describe).join(", ");
  const more = spans.length - MAX_DESCRIBED;
  return more > 0 ? `${first}, and ${english.number(more)} more` : first;
}

/** @param {Span} span */
function describe({ label, start, end, open, failed, discarded }) {
  const time = open ? "running" : english.duration(end - start);
  return `${label} ${discarded ? "discarded after " : failed ? "failed after " : ""}${time}`;
}

/**
 * Set an attribute only if it changes, to avoid a new layout.
 *
 * @param {Element} node
 * @param {string} name
 * @param {string} value
 */
function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}
