/** The branches of a conversation: edited questions, and the choice between versions. */

import { part } from "./dom.js";
import { icon } from "./icons.js";
import { InlineEditor } from "./inline-editor.js";
import { branchStyles } from "./styles/branches.js";
import { adopt } from "./styles/sheet.js";

/** @import { Message } from "../client/agent-types.js" */
/** @import { Chat } from "./chat.js" */
/** @import { Exchange } from "./exchange.js" */
/** @import { Components } from "./types.js" */

/** Messages of one request. */
const PAGE = 100;

export class Branches {
  #components;
  #chat;
  /** The version that the user has chosen, and the button. */
  #chosen = { id: 0, kind: "" };

  /**
   * @param {Components} components
   * @param {Chat} chat
   */
  constructor(components, chat) {
    this.#components = components;
    this.#chat = chat;
    adopt(components.root, branchStyles);
  }

  /** Edit a question in its place. @param {Exchange} exchange */
  edit(exchange) {
    if (!this.#chat.idle) return;
    const { language, root } = this.#components;
    const bubble = exchange.element.querySelector(".prompt");
    if (!bubble || bubble.querySelector(".editor")) return;
    const shown = [...bubble.children];
    const close = (/** @type {string | undefined} */ text) => {
      if (text !== undefined) return void this.#send(exchange, text);
      bubble.replaceChildren(...shown);
      /** @type {HTMLElement | null} */ (bubble.querySelector(".edit-question"))?.focus();
    };
    const confirm = language.text("send");
    const editor = new InlineEditor(root, exchange.question, language, close, { confirm });
    bubble.replaceChildren(editor.element);
    editor.focus();
  }

  /**
   * @param {Exchange} exchange
   * @param {string} text
   */
  async #send(exchange, text) {
    try {
      if (!exchange.message) await this.#locate(exchange);
      this.#chat.replace(exchange, text, exchange.message?.parent_id ?? null);
    } catch (error) {
      this.#chat.showFailure(error);
    }
  }

  /** Show the versions of an exchange whose run has begun another branch. @param {Exchange} exchange */
  async locate(exchange) {
    await this.#locate(exchange).catch(() => {}); // a reload shows them
  }

  /**
   * Find the messages of an exchange, from the end of the conversation.
   *
   * @param {Exchange} exchange
   */
  async #locate(exchange) {
    const { client, options } = this.#components;
    const { conversationId, orgId } = options;
    /** @type {Message[]} */
    let messages = [];
    let cursor = "";
    for (;;) {
      const asked = /** @type {const} */ ({ orgId, cursor, limit: PAGE, from: "end" });
      const page = await client.conversations.get(conversationId, asked);
      messages = [...page.messages, ...messages];
      const first = messages.findIndex(({ run_id }) => run_id === exchange.runId);
      const at = first > 0 && messages[first].role !== "user" ? first - 1 : first;
      if (messages[at]?.role === "user") return exchange.place(messages[at], messages[at + 1]);
      cursor = page.next_cursor ?? "";
      if (cursor) continue;
      // A repeated answer that has no message yet.
      const question = messages.findLast(({ role }) => role === "user");
      if (question) exchange.place(question);
      return;
    }
  }

  /** Show the choice between the versions of a question and of its answer. @param {Exchange} exchange */
  show(exchange) {
    for (const shown of exchange.element.querySelectorAll(".versions")) shown.remove();
    const { message, reply } = exchange;
    exchange.addBelow(this.#versions(message), this.#versions(reply));
    const chosen = [message, reply].find((each) => each?.id === this.#chosen.id);
    if (!chosen) return;
    const buttons = [...exchange.element.querySelectorAll(".versions button")];
    const named = buttons.filter((each) => each.classList.contains(this.#chosen.kind));
    const button = chosen === reply ? named.at(-1) : named[0];
    if (button instanceof HTMLElement) button.focus();
    this.#components.status.announce(button?.parentElement?.ariaLabel ?? "");
    this.#chosen = { id: 0, kind: "" };
  }

  /** @param {Message} [message] */
  #versions(message) {
    const { id = 0, siblings = [] } = message ?? {};
    if (siblings.length < 2) return [];
    const { language } = this.#components;
    const at = siblings.indexOf(id);
    const count = siblings.length;
    const label = language.text("version", { number: at + 1, of: count });
    const shown = `${language.number(at + 1)}/${language.number(count)}`;
    const group = part("div", { class: "versions", role: "group", "aria-label": label });
    group.append(
      this.#step("previous", siblings[at - 1]),
      part("span", { "aria-hidden": "true" }, shown),
      this.#step("next", siblings[at + 1]),
    );
    return [group];
  }

  /**
   * @param {"previous" | "next"} kind
   * @param {number} [id] the version that it shows; none at the end
   */
  #step(kind, id) {
    const label = this.#components.language.text(kind);
    const named = { type: "button", "aria-label": label, title: label };
    const button = part("button", { ...named, "aria-disabled": String(!id) }, icon("chevron"));
    button.className = `icon-button ${kind}`;
    button.addEventListener("click", () => {
      if (!id || !this.#chat.idle) return;
      this.#chosen = { id, kind };
      this.#chat.goTo(id);
    });
    return button;
  }
}
