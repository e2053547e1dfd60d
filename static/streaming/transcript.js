/** The conversation on the page: its turns, and the view that follows their end. */

import { onNextFrame } from "./frames.js";
import { Turn } from "./turn.js";

/** So near to the end, in px, a reader counts as being there. */
const NEAR = 80;

export class Transcript {
  #list;
  #frame;
  #following = true;
  #position = 0;

  /**
   * On a wide screen the list scrolls, on a narrow one the document does, and the
   * section that holds the list ends where the reader writes.
   *
   * @param {HTMLElement} list
   * @param {HTMLElement} frame the section
   */
  constructor(list, frame) {
    this.#list = list;
    this.#frame = frame;
    document.addEventListener("scroll", this.#onScroll, { capture: true, passive: true });
  }

  /**
   * A new turn at the end.
   *
   * @param {string} prompt
   */
  begin(prompt) {
    const turn = new Turn(prompt);
    this.#list.append(turn.element);
    this.#following = true;
    this.follow();
    return turn;
  }

  /** Keep the end in view, unless the reader has gone elsewhere. */
  follow() {
    if (this.#following) onNextFrame(this.#showEnd);
  }

  clear() {
    this.#list.replaceChildren();
  }

  #showEnd = () => {
    this.#list.scrollTop = this.#list.scrollHeight;
    if (this.#frame.getBoundingClientRect().bottom > innerHeight) {
      this.#frame.scrollIntoView({ block: "end" });
    }
  };

  /** Only who goes up leaves the end; what comes in meanwhile moves it away too. */
  #onScroll = () => {
    const position = this.#list.scrollTop + scrollY;
    if (this.#isAtEnd()) this.#following = true;
    else if (position < this.#position) this.#following = false;
    this.#position = position;
  };

  #isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#list;
    const below = this.#frame.getBoundingClientRect().bottom - innerHeight;
    return scrollHeight - scrollTop - clientHeight < NEAR && Math.abs(below) < NEAR;
  }
}
