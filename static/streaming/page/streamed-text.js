/** Plain text that grows: one text node, appended to at most once per animation frame. */

import { element } from "./dom.js";
import { onNextFrame } from "./animation-frames.js";

export class StreamedText {
  element;
  source = "";
  #node = document.createTextNode("");
  #waiting = "";

  /** @param {string} className */
  constructor(className) {
    this.element = element("p", className, this.#node);
  }

  /** @param {string} text */
  append(text) {
    this.source += text;
    this.#waiting += text;
    onNextFrame(this.#flush);
  }

  /** Nothing more will come. */
  close() {
    this.#flush();
  }

  #flush = () => {
    this.#node.appendData(this.#waiting);
    this.#waiting = "";
  };
}
