/** Text that grows: one text node, appended to at most once per animation frame. */

import { onNextFrame } from "./frames.js";

export class StreamedText {
  node = document.createTextNode("");
  #waiting = "";

  /** @param {string} text */
  append(text) {
    this.#waiting += text;
    onNextFrame(this.#flush);
  }

  #flush = () => {
    this.node.appendData(this.#waiting);
    this.#waiting = "";
  };
}
