/** Growing plain text: one text node, appended to at most once per animation frame. */

import { onNextFrame } from "./animation-frames.js";
import { element } from "./dom.js";

export class StreamedText {
  element;
  source = "";
  #node = document.createTextNode("");
  #pending = "";

  /** @param {string} className */
  constructor(className) {
    this.element = element("p", className, this.#node);
  }

  /** @param {string} text */
  append(text) {
    this.source += text;
    this.#pending += text;
    onNextFrame(this.#flush);
  }

  /** Append the rest after the last piece. */
  close() {
    this.#flush();
  }

  #flush = () => {
    this.#node.appendData(this.#pending);
    this.#pending = "";
  };
}
