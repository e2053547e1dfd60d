/** The questions that wait for the end of the active run, above the composer. */

import { element, part } from "./dom.js";
import { sentenceOf } from "./errors.js";
import { TITLE_CHARS } from "./exchange.js";
import { icon } from "./icons.js";
import { InlineEditor } from "./inline-editor.js";
import { queueStyles } from "./styles/queue.js";
import { adopt } from "./styles/sheet.js";

/** @import { PendingRun } from "../client/agent-types.js" */
/** @import { Components } from "./types.js" */

/**
 * A question in the queue. It has no run until the server has accepted it.
 *
 * @typedef {object} Item
 * @property {string} runId
 * @property {string} input
 * @property {AbortController} [sending]
 * @property {InlineEditor} [editor]
 * @property {HTMLElement} [row]
 */

export class Queue {
  #root;
  #components;
  #changed;
  /** @type {Item[]} */
  #items = [];
  #title = element("h3");
  #head = element("div", "queue-head", this.#title);
  #list = element("ol", "queue-list");
  #failure = part("p", { class: "failure", hidden: true });
  #section;
  /** The end of the requests so far, which are sent one after another. */
  #sent = Promise.resolve();
  /** Changes that the server does not have. */
  #changes = 0;

  /**
   * @param {Components} components
   * @param {() => void} changed called after this page has changed the queue
   */
  constructor(components, changed) {
    const { root } = components;
    this.#root = root;
    this.#components = components;
    this.#changed = changed;
    adopt(root, queueStyles);
    const clear = part("button", { type: "button", class: "link" }, this.#text("clearQueue"));
    clear.addEventListener("click", () => {
      this.clear();
      components.composer.focus();
    });
    this.#title.id = "queue-title";
    const named = { id: "queue", class: "queue", hidden: true, "aria-labelledby": "queue-title" };
    this.#head.append(clear);
    this.#section = part("section", named, this.#head, this.#list, this.#failure);
    root.getElementById("composer")?.before(this.#section);
    this.#list.addEventListener("keydown", this.#onKeyDown);
  }

  /** Number of questions. */
  get size() {
    return this.#items.length;
  }

  /** True if the server has not accepted all of them. */
  get isSending() {
    return this.#items.some(({ sending }) => sending);
  }

  /** Resolves when the requests so far have been sent. */
  get sent() {
    return this.#sent;
  }

  /** Show the pending runs, unless a change of them is on its way. @param {PendingRun[]} runs */
  show(runs) {
    if (this.#changes) return;
    const known = new Map(this.#items.map((item) => [item.runId, item]));
    const items = runs.map(({ run_id: runId, input }) => {
      const item = known.get(runId) ?? { runId, input };
      if (item.input !== input && !item.editor) item.row = undefined;
      known.delete(runId);
      return Object.assign(item, { input });
    });
    const sending = this.#items.filter((item) => item.sending);
    for (const { editor } of known.values()) {
      if (editor?.isChanged) this.#components.composer.add(editor.value);
    }
    this.#items = [...items, ...sending];
    this.#draw();
  }

  /** Show none, as before a conversation is shown. What was not sent returns to the field. */
  empty() {
    for (const { sending, input } of this.#items) if (sending) this.#components.composer.add(input);
    this.#discard();
  }

  #discard() {
    for (const { sending } of this.#items) sending?.abort();
    this.#items = [];
    this.#failure.hidden = true;
    this.#draw();
  }

  /** Read the queue again. @param {AbortSignal} [signal] */
  async refresh(signal) {
    const { client, options } = this.#components;
    const { conversationId, orgId } = options;
    const { runs } = await client.conversations.queue(conversationId, { orgId, signal });
    if (conversationId === options.conversationId) this.show(runs);
  }

  /**
   * Send a question that waits for the active run; resolve to true if the server has accepted it.
   *
   * @param {string} input
   * @param {Promise<void>} [known] resolves when the active run is known to the server
   */
  add(input, known) {
    const item = { runId: "", input, sending: new AbortController() };
    this.#items.push(item);
    this.#failure.hidden = true;
    this.#draw();
    return this.#inOrder(async () => {
      await known;
      const { composer, options } = this.#components;
      if (options.conversationId || item.sending.signal.aborted) return this.#send(item);
      composer.add(input); // the conversation was not begun
      this.#items = this.#items.filter((each) => each !== item);
      this.#draw();
      return false;
    });
  }

  /** @param {Item & {sending: AbortController}} item */
  async #send(item) {
    const { client, composer, options, status } = this.#components;
    const { signal } = item.sending;
    try {
      signal.throwIfAborted();
      const request = { ...options.request(item.input), on_busy: /** @type {const} */ ("queue") };
      for await (const event of client.stream(request, { signal })) {
        if (event.type !== "connected") continue;
        item.runId = event.data.metadata.run_id;
        break; // an open stream for each question would use up the browser's connections
      }
    } catch (error) {
      if (!signal.aborted) {
        composer.add(item.input);
        this.#fail(error);
      }
    }
    this.#items = this.#items.filter((each) => each !== item);
    if (!signal.aborted && item.runId) {
      await this.refresh().catch(this.#fail);
      const count = this.#items.findIndex(({ runId }) => runId === item.runId) + 1;
      if (count) status.announce(this.#text("enqueued", { count }));
      this.#changed();
    }
    this.#draw();
    return item.runId !== "";
  }

  /**
   * Do something after all that was begun before.
   *
   * @template Result
   * @param {() => Promise<Result>} act
   */
  #inOrder(act) {
    const result = this.#sent.then(act);
    const end = () => {};
    this.#sent = result.then(end, end);
    return result;
  }

  /**
   * Change the queue, and read it after the last change: runs may have started meanwhile.
   *
   * @param {(id: string, options: {orgId?: string}) => Promise<unknown>} act
   */
  #change(act) {
    const { conversationId, orgId } = this.#components.options;
    this.#changes += 1;
    this.#failure.hidden = true;
    return this.#inOrder(async () => {
      await act(conversationId, { orgId }).catch(this.#fail);
      this.#changes -= 1;
      if (!this.#changes && this.size) await this.refresh().catch(() => {});
      this.#changed();
    });
  }

  /** @param {Item} item */
  #remove(item) {
    const { client, status } = this.#components;
    const at = this.#items.indexOf(item);
    item.sending?.abort();
    this.#items.splice(at, 1);
    this.#draw();
    const next = this.#items[Math.min(at, this.#items.length - 1)];
    if (next) this.#focus(next, "remove");
    else this.#components.composer.focus();
    status.announce(this.#text("removed"));
    if (item.sending) this.#components.composer.add(item.input);
    else this.#change((_, options) => client.cancel(item.runId, options));
  }

  /** Cancel all. */
  clear() {
    const { client, status } = this.#components;
    if (!this.size) return;
    this.#discard();
    status.announce(this.#text("removed"));
    this.#change((id, options) => client.conversations.clearQueue(id, options));
  }

  /**
   * @param {Item} item
   * @param {number} by
   */
  #move(item, by) {
    const { client, status } = this.#components;
    const items = this.#items.filter(({ sending }) => !sending);
    const to = items.indexOf(item) + by;
    if (to < 0 || to >= items.length) return;
    items.splice(to - by, 1);
    items.splice(to, 0, item);
    this.#items = [...items, ...this.#items.filter(({ sending }) => sending)];
    this.#draw();
    status.announce(this.#text("enqueued", { count: to + 1 }));
    const order = items.map(({ runId }) => runId);
    this.#change((id, options) => client.conversations.reorder(id, order, options));
  }

  /** @param {Item} item */
  #edit(item) {
    const { client, language } = this.#components;
    const close = (/** @type {string | undefined} */ text) => {
      item.editor = item.row = undefined;
      if (text !== undefined) {
        item.input = text;
        this.#change((_, { orgId }) => client.edit(item.runId, text, { orgId }));
      }
      this.#draw();
      this.#focus(item, "edit");
    };
    item.editor = new InlineEditor(this.#root, item.input, language, close);
    item.row?.replaceChildren(item.editor.element);
    item.editor.focus();
  }

  /** Move a question by Alt and an arrow key. */
  #onKeyDown = (/** @type {KeyboardEvent} */ event) => {
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!event.altKey || !by) return;
    const target = /** @type {Node} */ (event.target);
    const item = this.#items.find(({ row, editor }) => row?.contains(target) && !editor);
    if (!item || item.sending) return;
    event.preventDefault();
    this.#move(item, by);
  };

  #fail = (/** @type {any} */ error) => {
    const { language, options, status } = this.#components;
    const sentence = sentenceOf(error, language, options.details);
    this.#failure.textContent = sentence;
    this.#failure.hidden = false;
    this.#draw();
    status.announce(sentence);
  };

  #draw() {
    const focused = this.#root.activeElement;
    const count = this.#items.length;
    this.#title.textContent = this.#text("queued", { count });
    this.#head.hidden = !count;
    this.#section.hidden = !count && this.#failure.hidden;
    this.#list.replaceChildren(...this.#items.map((item) => (item.row ??= this.#row(item))));
    const movable = this.#items.filter(({ sending }) => !sending);
    for (const [at, { row }] of movable.entries()) {
      row?.querySelector(".up")?.setAttribute("aria-disabled", String(at === 0));
      row?.querySelector(".down")?.setAttribute("aria-disabled", String(at === movable.length - 1));
    }
    if (focused instanceof HTMLElement && this.#list.contains(focused)) focused.focus();
  }

  /** @param {Item} item */
  #row(item) {
    const text = part("p", { class: "queue-text", dir: "auto" }, item.input);
    /** @type {[string, import("./texts/english.js").TextKey, () => void][]} */
    const commands = [
      ["up", "moveUp", () => this.#move(item, -1)],
      ["down", "moveDown", () => this.#move(item, 1)],
      ["edit", "editNamed", () => this.#edit(item)],
      ["close", "removeNamed", () => this.#remove(item)],
    ];
    const offered = item.sending ? commands.slice(-1) : commands;
    const buttons = offered.map(([name, key, act]) => {
      const label = this.#text(key, { title: item.input.slice(0, TITLE_CHARS) });
      const kind = name === "close" ? "remove" : name;
      const named = { type: "button", "aria-label": label, title: label };
      const button = part("button", { ...named, class: `icon-button ${kind}` }, icon(name));
      button.addEventListener("click", act);
      return button;
    });
    return element("li", item.sending ? "queue-row sending" : "queue-row", text, ...buttons);
  }

  /**
   * @param {Item} item
   * @param {string} kind of the button
   */
  #focus({ row }, kind) {
    /** @type {HTMLElement | null | undefined} */ (row?.querySelector(`.${kind}`))?.focus();
  }

  /**
   * @param {import("./texts/english.js").TextKey} key
   * @param {Record<string, string | number>} [values]
   */
  #text(key, values) {
    return this.#components.language.text(key, values);
  }
}
