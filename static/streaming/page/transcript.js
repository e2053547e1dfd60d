/** The conversation on the page: its turns, and the view that follows their end. */

import { EndFollower } from "./end-follower.js";
import { atFrameEnd } from "./animation-frames.js";
import { Turn } from "./exchange.js";

/** @typedef {import("../client/agent-client.js").RunRequest} RunRequest */
/** @typedef {import("../client/agent-types.js").Conversation} Conversation */
/** @typedef {import("../client/agent-types.js").Message} Message */
/** @typedef {import("./exchange.js").TurnCommands} TurnCommands */

/** @param {Message} message */
export function textOf({ parts }) {
  return parts.map((part) => ("text" in part ? part.text : "")).join("");
}

export class Transcript {
  #list;
  #frame;
  #commands;
  #reader = new EndFollower();

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
    list.addEventListener("wheel", this.#onWheel, { passive: true });
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
    this.#reader.following = true;
    this.follow();
    return turn;
  }

  /**
   * The turns of a conversation as the server keeps it, instead of what is shown.
   *
   * Of a run that is still under way leave the answer out, or its turn, and follow the
   * run from its beginning.
   *
   * @param {Pick<Conversation, "messages" | "runs">} conversation
   * @param {Partial<RunRequest>} [request] what their requests had beside the prompt
   */
  load({ messages, runs }, request) {
    /** @type {{turn: Turn, runId: string | null}[]} */
    const turns = [];
    for (const message of messages) {
      if (message.role === "user") {
        const turn = new Turn({ ...request, input: textOf(message) }, this.#commands);
        turns.push({ turn, runId: message.run_id });
      } else {
        for (const part of message.parts) turns.at(-1)?.turn.recall(part);
      }
    }
    for (const { turn, runId } of turns) turn.close(runs.find((run) => run.run_id === runId));
    this.#list.replaceChildren(...turns.map(({ turn }) => turn.element));
    this.#reader.following = true;
    this.follow();
  }

  /** Keep the end in view, unless the reader has gone elsewhere. */
  follow() {
    atFrameEnd(this.#showEnd);
  }

  clear() {
    this.#list.replaceChildren();
  }

  #showEnd = () => {
    if (!this.#reader.following) return;
    this.#list.scrollTop = this.#list.scrollHeight;
    if (this.#frame.getBoundingClientRect().bottom > innerHeight) {
      this.#frame.scrollIntoView({ block: "end" });
    }
    this.#reader.shown(this.#position);
  };

  /** Told apart from what we scroll ourselves at the same moment, which can swallow it. */
  #onWheel = (/** @type {WheelEvent} */ { deltaY }) => {
    if (deltaY < 0 && this.#position > 0) this.#reader.following = false;
  };

  #onScroll = () => this.#reader.scrolled(this.#position, this.#below);

  get #position() {
    return this.#list.scrollTop + scrollY;
  }

  get #below() {
    const { scrollHeight, scrollTop, clientHeight } = this.#list;
    const below = this.#frame.getBoundingClientRect().bottom - innerHeight;
    return scrollHeight - scrollTop - clientHeight + Math.abs(below);
  }
}
