/** The conversation on the page: its exchanges, with a view that follows the end. */

import { atFrameEnd } from "./animation-frames.js";
import { EndFollower } from "./end-follower.js";
import { Exchange } from "./exchange.js";

/** @typedef {import("../client/agent-client.js").RunRequest} RunRequest */
/** @typedef {import("../client/agent-types.js").Conversation} Conversation */
/** @typedef {import("../client/agent-types.js").Message} Message */
/** @typedef {import("./exchange.js").ExchangeCommands} ExchangeCommands */

/** @param {Message} message */
export function textOf({ parts }) {
  return parts.map((part) => ("text" in part ? part.text : "")).join("");
}

export class Transcript {
  #list;
  #frame;
  #commands;
  #endFollower = new EndFollower();

  /**
   * On a wide screen the list scrolls. On a narrow one the document does, and the section
   * with the list ends at the composer.
   *
   * @param {HTMLElement} list
   * @param {HTMLElement} frame the section
   * @param {ExchangeCommands} [commands] the actions of an exchange
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
   * Append a new exchange.
   *
   * @param {RunRequest} request
   */
  begin(request) {
    const exchange = new Exchange(request, this.#commands);
    this.#list.append(exchange.element);
    this.#endFollower.following = true;
    this.follow();
    return exchange;
  }

  /**
   * Replace the shown exchanges by those of a stored conversation.
   *
   * Omit the answer of an active run, or its whole exchange, and follow the run from its
   * first event instead.
   *
   * @param {Pick<Conversation, "messages" | "runs">} conversation
   * @param {Partial<RunRequest>} [request] the other fields of their requests
   */
  load({ messages, runs }, request) {
    /** @type {{exchange: Exchange, runId: string | null}[]} */
    const exchanges = [];
    for (const message of messages) {
      if (message.role === "user") {
        const exchange = new Exchange({ ...request, input: textOf(message) }, this.#commands);
        exchanges.push({ exchange, runId: message.run_id });
      } else {
        for (const part of message.parts) exchanges.at(-1)?.exchange.restore(part);
      }
    }
    for (const { exchange, runId } of exchanges) {
      exchange.close(runs.find((run) => run.run_id === runId));
    }
    this.#list.replaceChildren(...exchanges.map(({ exchange }) => exchange.element));
    this.#endFollower.following = true;
    this.follow();
  }

  /** Keep the end in view, unless the user has scrolled away. */
  follow() {
    atFrameEnd(this.#showEnd);
  }

  clear() {
    this.#list.replaceChildren();
  }

  #showEnd = () => {
    if (!this.#endFollower.following) return;
    this.#list.scrollTop = this.#list.scrollHeight;
    if (this.#frame.getBoundingClientRect().bottom > innerHeight) {
      this.#frame.scrollIntoView({ block: "end" });
    }
    this.#endFollower.shown(this.#position);
  };

  /** Detect scrolling up by wheel: a simultaneous scroll by the page can hide its effect. */
  #onWheel = (/** @type {WheelEvent} */ { deltaY }) => {
    if (deltaY < 0 && this.#position > 0) this.#endFollower.following = false;
  };

  #onScroll = () => this.#endFollower.scrolled(this.#position, this.#below);

  get #position() {
    return this.#list.scrollTop + scrollY;
  }

  get #below() {
    const { scrollHeight, scrollTop, clientHeight } = this.#list;
    const below = this.#frame.getBoundingClientRect().bottom - innerHeight;
    return scrollHeight - scrollTop - clientHeight + Math.abs(below);
  }
}
