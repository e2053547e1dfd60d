/** The earlier messages of the open conversation, which are loaded on demand. */

import { element } from "./dom.js";
import { sentenceOf } from "./errors.js";
import { steers } from "./transcript.js";

/** @import { Conversation, Message } from "../client/agent-types.js" */
/** @import { Components } from "./types.js" */

/** Messages of one request. */
const PAGE = 100;

export class OlderMessages {
  #client;
  #options;
  #language;
  #transcript;
  #button = element("button", "older");
  #row = element("li", "older-row", this.#button);
  #loading = new AbortController();
  /** The earliest part that was read. @type {Conversation | undefined} */
  #earliest;

  /** @param {Components} components */
  constructor({ client, options, language, transcript }) {
    this.#client = client;
    this.#options = options;
    this.#language = language;
    this.#transcript = transcript;
    this.#button.type = "button";
    this.#button.addEventListener("click", this.#load);
  }

  /**
   * Return the end of a conversation at least from the last question on.
   *
   * @param {Conversation} end
   * @param {AbortSignal} signal
   */
  complete(end, signal) {
    return this.#withQuestion(end, signal);
  }

  /** Offer the messages before a part. @param {Conversation} earliest */
  offer(earliest) {
    this.#earliest = earliest;
    this.#button.textContent = this.#language.text("earlier");
    this.#transcript.header = earliest.next_cursor ? this.#row : undefined;
  }

  /** Offer nothing, as before a conversation is shown. */
  clear() {
    this.#loading.abort();
    this.#earliest = undefined;
    this.#transcript.header = undefined;
  }

  #load = async () => {
    const later = this.#earliest;
    if (!later?.next_cursor) return;
    this.#loading.abort();
    const { signal } = (this.#loading = new AbortController());
    try {
      const page = await this.#withQuestion(await this.#before(later, signal), signal);
      if (signal.aborted) return;
      const answer = answerTo(later.messages);
      const messages = [...page.messages, ...answer];
      this.offer(page);
      const runs = [...page.runs, ...later.runs];
      this.#transcript.prepend({ messages, runs }, this.#options.request(""));
      if (!page.next_cursor) this.#transcript.focus();
    } catch (/** @type {any} */ error) {
      if (signal.aborted) return;
      const reason = sentenceOf(error, this.#language, this.#options.details);
      this.#button.textContent = this.#language.text("earlierFailed", { reason });
    }
  };

  /**
   * Return a part that has a question, if there is one: a long answer may fill many parts.
   *
   * @param {Conversation} part
   * @param {AbortSignal} signal
   */
  async #withQuestion(part, signal) {
    while (part.next_cursor && answerTo(part.messages).length === part.messages.length) {
      const earlier = await this.#before(part, signal);
      const messages = [...earlier.messages, ...part.messages];
      part = { ...earlier, messages, runs: [...earlier.runs, ...part.runs] };
    }
    return part;
  }

  /**
   * @param {Conversation} part
   * @param {AbortSignal} signal
   */
  #before(part, signal) {
    return this.#read(part.conversation_id, signal, part.next_cursor ?? "");
  }

  /**
   * @param {string} id
   * @param {AbortSignal} signal
   * @param {string} cursor
   */
  #read(id, signal, cursor) {
    const { orgId } = this.#options;
    return this.#client.conversations.get(id, { orgId, signal, cursor, limit: PAGE, from: "end" });
  }
}

/** Return the messages before the first question, which an earlier part has. @param {Message[]} messages */
function answerTo(messages) {
  const first = messages.findIndex((message) => message.role === "user" && !steers(message));
  return first < 0 ? messages : messages.slice(0, first);
}
