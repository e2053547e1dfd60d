/** The conversation on the page: its turns, and the view that follows their end. */

import { onNextFrame } from "./frames.js";
import { Turn } from "./turn.js";

/** @typedef {import("./agent-client.js").RunRequest} RunRequest */
/** @typedef {import("./turn.js").StoredMessage} StoredMessage */
/** @typedef {import("./turn.js").TurnCommands} TurnCommands */

/** So near to the end, in px, a reader counts as being there. */
const NEAR = 80;

export class Transcript {
  #list;
  #frame;
  #commands;
  #following = true;
  #position = 0;

  /**
   * On a wide screen the list scrolls, on a narrow one the document does, and the
   * section that holds the list ends where the reader writes.
   *
   * @param {HTMLElement} list
   * @param {HTMLElement} frame the section
   * @param {TurnCommands} [commands] what a turn offers
   */
  constructor(list, frame, commands) {
    this.#list = list;
    this.#frame = frame;
    this.#commands = commands;
    document.addEventListener("scroll", this.#onScroll, { capture: true, passive: true });
    list.addEventListener("grown", () => this.follow());
  }

  /**
   * A new turn at the end.
   *
   * @param {RunRequest} request
   */
  begin(request) {
    const turn = new Turn(request, this.#commands);
    this.#list.append(turn.element);
    this.#following = true;
    this.follow();
    return turn;
  }

  /**
   * The turns of a conversation as the server keeps it, instead of what is shown.
   *
   * Of a run that is still under way leave the answer out, or its turn, and follow the
   * run from its beginning.
   *
   * @param {StoredMessage[]} messages
   * @param {Partial<RunRequest>} [request] what their requests had beside the prompt
   */
  load(messages, request) {
    /** @type {Turn[]} */
    const turns = [];
    for (const { role, parts } of messages) {
      if (role === "user") {
        const input = parts.map(({ text }) => text ?? "").join("");
        turns.push(new Turn({ ...request, input }, this.#commands));
      } else {
        for (const part of parts) turns.at(-1)?.recall(part);
      }
    }
    for (const turn of turns) turn.close();
    this.#list.replaceChildren(...turns.map((turn) => turn.element));
    this.#following = true;
    this.follow();
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
