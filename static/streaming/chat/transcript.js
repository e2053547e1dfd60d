/** The shown conversation: its exchanges, with a view that follows the end. */

import { atFrameEnd } from "./animation-frames.js";
import { EndFollower } from "./end-follower.js";
import { Exchange } from "./exchange.js";

/** @import { RunRequest } from "../client/agent-client.js" */
/** @import { AnyRequest } from "./types.js" */
/** @import { Conversation, Message } from "../client/agent-types.js" */
/** @import { ExchangeOptions } from "./exchange.js" */

/** @param {Message} message */
export function textOf({ parts }) {
  return parts.map((part) => ("text" in part ? part.text : "")).join("");
}

/** Whether a message has steered a run. @param {Message} message */
export function steers({ parts }) {
  return parts.some((part) => part.type === "text" && part.steers);
}

export class Transcript {
  #list;
  #frame;
  #options;
  #endFollower = new EndFollower();
  /** @type {HTMLElement[]} */
  #header = [];

  /**
   * The list scrolls. In a low window that belongs to the component alone the document does,
   * and the section with the list ends at the composer.
   *
   * @param {HTMLElement} list
   * @param {HTMLElement} frame the section
   * @param {ExchangeOptions} [options] of each exchange
   * @param {AbortSignal} [signal] the end of the component
   */
  constructor(list, frame, options, signal) {
    this.#list = list;
    this.#frame = frame;
    this.#options = options;
    const passive = { passive: true, signal };
    list.addEventListener("scroll", this.#onScroll, passive);
    document.addEventListener("scroll", this.#onScroll, { capture: true, ...passive });
    list.addEventListener("wheel", this.#onWheel, { passive: true });
    list.addEventListener("grown", () => this.follow());
  }

  /**
   * Append a new exchange.
   *
   * @param {AnyRequest} request
   * @param {string} [question] of a request without input
   */
  begin(request, question) {
    const exchange = new Exchange(request, this.#options, question);
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
  load(conversation, request) {
    this.#list.replaceChildren(...this.#header, ...this.#restored(conversation, request));
    this.#endFollower.following = true;
    this.follow();
  }

  /**
   * Insert older exchanges before the shown ones, which keep their place on the screen.
   *
   * @param {Pick<Conversation, "messages" | "runs">} conversation
   * @param {Partial<RunRequest>} [request]
   */
  prepend(conversation, request) {
    const list = this.#list;
    const first = list.querySelector(".exchange");
    const top = first?.getBoundingClientRect().top ?? 0;
    const restored = this.#restored(conversation, request);
    if (first) first.before(...restored);
    else list.append(...restored);
    const moved = (first?.getBoundingClientRect().top ?? 0) - top;
    if (this.#ownsScrolling) list.scrollTop += moved;
    else scrollBy(0, moved);
  }

  /** Show a row above the exchanges, or none. */
  set header(/** @type {HTMLElement | undefined} */ row) {
    if (row && row === this.#header[0]) return; // keeps its focus
    for (const shown of this.#header) shown.remove();
    this.#header = row ? [row] : [];
    this.#list.prepend(...this.#header);
  }

  /**
   * Return the elements of stored exchanges. Messages before the first question are omitted.
   *
   * @param {Pick<Conversation, "messages" | "runs">} conversation
   * @param {Partial<RunRequest>} [request]
   */
  #restored({ messages, runs }, request) {
    /** @type {Exchange[]} */
    const exchanges = [];
    for (const [at, message] of messages.entries()) {
      const exchange = exchanges.at(-1);
      if (steers(message)) exchange?.note(textOf(message));
      else if (message.role === "user") {
        const begun = new Exchange({ ...request, input: textOf(message) }, this.#options);
        const reply = messages[at + 1];
        begun.runId = (reply?.role === "user" ? message : (reply ?? message)).run_id ?? "";
        begun.place(message, reply?.role === "user" ? undefined : reply);
        exchanges.push(begun);
      } else {
        for (const part of message.parts) exchange?.restore(part);
      }
    }
    for (const exchange of exchanges) {
      exchange.close(runs.find((run) => run.run_id === exchange.runId));
    }
    return exchanges.map((exchange) => exchange.element);
  }

  /** Remove an exchange and those after it; the focus may be there. @param {Exchange} exchange */
  cut({ element: first }) {
    this.focus();
    while (first.nextElementSibling) first.nextElementSibling.remove();
    first.remove();
  }

  /** Keep the end in view, unless the user has scrolled away. */
  follow() {
    atFrameEnd(this.#showEnd);
  }

  /** Move the focus to the list. */
  focus() {
    this.#list.focus({ preventScroll: true });
  }

  clear() {
    this.#header = [];
    this.#list.replaceChildren();
  }

  #showEnd = () => {
    if (!this.#endFollower.following) return;
    this.#list.scrollTop = this.#list.scrollHeight;
    if (!this.#ownsScrolling && this.#frame.getBoundingClientRect().bottom > innerHeight) {
      this.#frame.scrollIntoView({ block: "end" });
    }
    this.#endFollower.shown(this.#position);
  };

  /** Detect scrolling up by wheel: a simultaneous scroll by the page can hide its effect. */
  #onWheel = (/** @type {WheelEvent} */ { deltaY }) => {
    if (deltaY < 0 && this.#position > 0) this.#endFollower.following = false;
  };

  #onScroll = () => this.#endFollower.scrolled(this.#position, this.#below);

  /** True if the list scrolls, and not the document, which may be the host page's. */
  get #ownsScrolling() {
    return getComputedStyle(this.#list).overflowY !== "visible";
  }

  get #position() {
    return this.#list.scrollTop + (this.#ownsScrolling ? 0 : scrollY);
  }

  get #below() {
    const { scrollHeight, scrollTop, clientHeight } = this.#list;
    if (this.#ownsScrolling) return scrollHeight - scrollTop - clientHeight;
    const below = this.#frame.getBoundingClientRect().bottom - innerHeight;
    return scrollHeight - scrollTop - clientHeight + Math.abs(below);
  }
}
