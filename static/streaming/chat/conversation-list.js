/** The list of the user's conversations, with search, open, rename and delete. */

import { byId, element } from "./dom.js";
import { sentenceOf } from "./errors.js";
import { icon } from "./icons.js";
import { InlineEditor } from "./inline-editor.js";
import { urlFor } from "./page-url.js";

/** @import { AgentClient } from "../client/agent-client.js" */
/** @import { ConversationSummary } from "../client/agent-types.js" */
/** @import { Language } from "./language.js" */
/** @import { Options } from "./options.js" */
/** @import { ListCommands } from "./types.js" */

/** Maximum length of a title. */
const TITLE_CHARS = 120;
const PAGE = 30;
const MAX_ROWS = 100;
/** Class, icon and label of the buttons of a row. */
const COMMANDS = /** @type {const} */ ([
  ["rename", "edit", "renameNamed"],
  ["delete", "delete", "deleteNamed"],
]);
const TYPING_MS = 200;
/** Polling interval while runs of other conversations are active. */
const POLL_MS = 3000;

export class ConversationList {
  #client;
  #options;
  #language;
  #commands;
  #root;
  #list;
  #note;
  #more;
  /** @type {HTMLInputElement} */
  #search;
  #active = false;
  /** @type {ConversationSummary[]} */
  #shown = [];
  /** @type {string | null} */
  #cursor = null;
  #current = "";
  #loading = new AbortController();
  #searchTimer = 0;
  #pollTimer = 0;
  #isEditing = false;

  /**
   * @param {ShadowRoot} root
   * @param {AgentClient} client
   * @param {Options} options
   * @param {Language} language
   * @param {ListCommands} commands
   */
  constructor(root, client, options, language, commands) {
    this.#root = root;
    this.#client = client;
    this.#options = options;
    this.#language = language;
    this.#commands = commands;
    this.#list = byId(root, "conversations");
    this.#note = byId(root, "conversations-note");
    this.#more = byId(root, "more");
    this.#search = byId(root, "search");
    this.#more.addEventListener("click", () => this.#load(this.#cursor ?? ""));
    this.#search.addEventListener("input", this.#onSearch);
    this.#list.addEventListener("click", this.#onClick);
  }

  /** Load the list and keep it up to date, or stop while it is not shown. */
  set active(/** @type {boolean} */ active) {
    if (active === this.#active) return;
    this.#active = active;
    this.#loading.abort();
    clearTimeout(this.#pollTimer);
    if (active) this.refresh();
  }

  /** Mark the open conversation. */
  set current(/** @type {string} */ conversationId) {
    this.#current = conversationId;
    for (const row of this.#list.children) this.#mark(row);
  }

  /** Return the active run of a listed conversation, or "". @param {string} conversationId */
  activeRunOf(conversationId) {
    const found = this.#shown.find((row) => row.conversation_id === conversationId);
    return found?.active_run_id ?? "";
  }

  /** Reload the list, as many rows as were shown. */
  async refresh() {
    if (this.#active) await this.#load("");
  }

  /** @param {string} cursor "" for the first page */
  async #load(cursor) {
    this.#loading.abort();
    clearTimeout(this.#pollTimer);
    const { signal } = (this.#loading = new AbortController());
    const search = this.#search.value.trim();
    const limit = cursor ? PAGE : Math.min(MAX_ROWS, Math.max(PAGE, this.#shown.length));
    const { orgId } = this.#options;
    try {
      const options = { orgId, search, cursor, limit, signal };
      const page = await this.#client.conversations.list(options);
      this.#shown = cursor ? [...this.#shown, ...page.conversations] : page.conversations;
      this.#cursor = page.next_cursor;
      this.#draw(this.#language.text(search ? "nothingFound" : "noConversations"));
      this.#commands.listed();
      if (this.#hasOtherActiveRun) this.#pollTimer = setTimeout(() => this.refresh(), POLL_MS);
    } catch (/** @type {any} */ error) {
      if (signal.aborted) return;
      const reason = sentenceOf(error, this.#language, this.#options.details);
      this.#draw(this.#language.text("listFailed", { reason }));
      this.#commands.refused(error);
    }
  }

  /** True if another conversation has an active run, whose end this page does not receive. */
  get #hasOtherActiveRun() {
    const others = this.#shown.filter((row) => row.conversation_id !== this.#current);
    return !document.hidden && others.some((row) => row.active_run_id);
  }

  #onSearch = () => {
    clearTimeout(this.#searchTimer);
    this.#searchTimer = setTimeout(async () => {
      this.#shown = [];
      await this.refresh();
      const key = this.#cursor ? "foundMore" : "found";
      this.#commands.announce(this.#language.text(key, { count: this.#shown.length }));
    }, TYPING_MS);
  };

  #onClick = (/** @type {MouseEvent} */ event) => {
    const target = /** @type {Element} */ (event.target);
    /** @type {HTMLElement | null} */
    const row = target.closest(".conversation-row");
    const id = row?.dataset.id;
    if (!row || id === undefined) return;
    if (target.closest(".rename")) this.#rename(row, id);
    else if (target.closest(".delete")) this.#delete(row, id);
    else if (target.closest("a") && isPlain(event)) {
      event.preventDefault();
      this.#commands.open(id);
    }
  };

  /**
   * @param {HTMLElement} row
   * @param {string} id
   */
  #rename(row, id) {
    const close = async (/** @type {string | undefined} */ text) => {
      const title = text?.replace(/\s+/g, " ").trim().slice(0, TITLE_CHARS);
      this.#isEditing = false;
      const { orgId } = this.#options;
      try {
        if (title) await this.#client.conversations.rename(id, title, { orgId });
        if (title) this.#commands.renamed(id, title);
      } catch (/** @type {any} */ error) {
        this.#commands.refused(error);
      }
      await this.refresh();
      const rows = /** @type {HTMLElement[]} */ ([...this.#list.children]);
      const found = rows.find(({ dataset }) => dataset.id === id);
      (found?.querySelector("a") ?? byId(this.#root, "new")).focus();
    };
    const { title = "" } = row.dataset;
    const label = this.#language.text("renameNamed", { title });
    const editor = new InlineEditor(this.#root, title, this.#language, close, { label });
    this.#isEditing = true;
    row.replaceChildren(editor.element);
    editor.focus();
  }

  /**
   * @param {HTMLElement} row
   * @param {string} id
   */
  async #delete(row, id) {
    const module = await import("./delete-dialog.js").catch(() => undefined);
    const title = row.dataset.title ?? "";
    if (!(await module?.confirmDelete(this.#root, this.#language, title))) return;
    try {
      await this.#client.conversations.delete(id, { orgId: this.#options.orgId });
    } catch (/** @type {any} */ error) {
      if (error.status !== 404) return this.#commands.refused(error);
    }
    const next = row.nextElementSibling ?? row.previousElementSibling;
    (next?.querySelector("a") ?? byId(this.#root, "new")).focus();
    this.#commands.announce(this.#language.text("deleted"));
    this.#commands.deleted(id);
    await this.refresh();
  }

  /** @param {string} emptyText shown for an empty list */
  #draw(emptyText) {
    if (this.#isEditing) return;
    const focused = this.#root.activeElement;
    const id = focused?.closest(".conversation-row")?.getAttribute("data-id");
    const kind = [focused?.localName, ...(focused?.classList ?? [])].join(".");
    this.#list.replaceChildren(...this.#shown.map((summary) => this.#row(summary)));
    this.#note.textContent = emptyText;
    this.#note.hidden = this.#shown.length > 0;
    this.#more.hidden = this.#cursor === null;
    if (id == null) return;
    for (const row of this.#list.children) {
      const same = row instanceof HTMLElement && row.dataset.id === id;
      if (same) /** @type {HTMLElement | null} */ (row.querySelector(kind))?.focus();
    }
  }

  /** @param {ConversationSummary} summary */
  #row({ conversation_id: id, title, updated_at, active_run_id }) {
    const name = title || id;
    const language = this.#language;
    const age = active_run_id
      ? language.text("running")
      : language.relativeTime(new Date(updated_at));
    const time = element("time", "", age);
    time.dateTime = updated_at;
    const link = element("a", "", element("span", "conversation-title", name), time);
    link.href = this.#options.layout === "page" ? urlFor(id) : "#";
    link.title = name;
    const row = element("li", "conversation-row", link);
    for (const [kind, drawing, key] of COMMANDS) {
      const button = element("button", `icon-button ${kind}`, icon(drawing));
      button.type = "button";
      button.ariaLabel = button.title = language.text(key, { title: name });
      row.append(button);
    }
    Object.assign(row.dataset, { id, title: name });
    if (active_run_id) row.dataset.active = active_run_id;
    this.#mark(row);
    return row;
  }

  /** @param {Element} row */
  #mark(row) {
    const link = row.querySelector("a");
    const current = row.getAttribute("data-id") === this.#current;
    if (link) link.ariaCurrent = current ? "page" : null;
  }
}

/** Return true for a click that does not open a new tab. @param {MouseEvent} event */
function isPlain(event) {
  return event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
}
