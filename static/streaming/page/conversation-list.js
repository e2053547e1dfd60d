/** The list of the organization's conversations, with search, open and delete. */

import { confirmDelete } from "./delete-dialog.js";
import { byId, element } from "./dom.js";
import { count } from "./format.js";
import { icon } from "./icons.js";
import { urlFor } from "./page-url.js";
import { relativeTime } from "./relative-time.js";

/** @typedef {import("../client/agent-client.js").AgentClient} AgentClient */
/** @typedef {import("../client/agent-types.js").ConversationSummary} ConversationSummary */
/** @typedef {import("./settings.js").Settings} Settings */

/**
 * @typedef {object} ListCommands
 * @property {(conversationId: string) => void} open
 * @property {(conversationId: string) => void} deleted
 * @property {() => void} listed the list was loaded
 * @property {(error: any) => void} refused the server rejected a request
 * @property {(text: string) => void} announce
 */

const PAGE = 30;
const MAX_ROWS = 100;
const TYPING_MS = 200;
/** Polling interval while runs of other conversations are active. */
const POLL_MS = 3000;

export class ConversationList {
  #client;
  #settings;
  #commands;
  #list = byId("conversations");
  #note = byId("conversations-note");
  #more = byId("more");
  /** @type {HTMLInputElement} */
  #search = byId("search");
  /** @type {ConversationSummary[]} */
  #shown = [];
  /** @type {string | null} */
  #cursor = null;
  #current = "";
  #loading = new AbortController();
  #searchTimer = 0;
  #pollTimer = 0;

  /**
   * @param {AgentClient} client
   * @param {Settings} settings
   * @param {ListCommands} commands
   */
  constructor(client, settings, commands) {
    this.#client = client;
    this.#settings = settings;
    this.#commands = commands;
    this.#more.addEventListener("click", () => this.#load(this.#cursor ?? ""));
    this.#search.addEventListener("input", this.#onSearch);
    this.#list.addEventListener("click", this.#onClick);
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
  refresh() {
    return this.#load("");
  }

  /** @param {string} cursor "" for the first page */
  async #load(cursor) {
    this.#loading.abort();
    clearTimeout(this.#pollTimer);
    const { signal } = (this.#loading = new AbortController());
    const search = this.#search.value.trim();
    const limit = cursor ? PAGE : Math.min(MAX_ROWS, Math.max(PAGE, this.#shown.length));
    const { orgId } = this.#settings;
    try {
      const options = { orgId, search, cursor, limit, signal };
      const page = await this.#client.conversations.list(options);
      this.#shown = cursor ? [...this.#shown, ...page.conversations] : page.conversations;
      this.#cursor = page.next_cursor;
      this.#draw(search ? "Nothing found." : "No conversations yet.");
      this.#commands.listed();
      if (this.#hasOtherActiveRun) this.#pollTimer = setTimeout(() => this.refresh(), POLL_MS);
    } catch (/** @type {any} */ error) {
      if (signal.aborted) return;
      this.#draw(`The list cannot be read. ${error.message}`);
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
      const atLeast = this.#cursor ? `More than ${this.#shown.length} conversations` : "";
      this.#commands.announce(`${atLeast || count(this.#shown.length, "conversation")} found.`);
    }, TYPING_MS);
  };

  #onClick = (/** @type {MouseEvent} */ event) => {
    const target = /** @type {Element} */ (event.target);
    /** @type {HTMLElement | null} */
    const row = target.closest(".conversation-row");
    const id = row?.dataset.id;
    if (!row || id === undefined) return;
    if (target.closest("button")) this.#delete(row, id);
    else if (target.closest("a") && isPlain(event)) {
      event.preventDefault();
      this.#commands.open(id);
    }
  };

  /**
   * @param {HTMLElement} row
   * @param {string} id
   */
  async #delete(row, id) {
    if (!(await confirmDelete(row.dataset.title ?? ""))) return;
    try {
      await this.#client.conversations.delete(id, { orgId: this.#settings.orgId });
    } catch (/** @type {any} */ error) {
      if (error.status !== 404) return this.#commands.refused(error);
    }
    const next = row.nextElementSibling ?? row.previousElementSibling;
    (next?.querySelector("a") ?? byId("new")).focus();
    this.#commands.announce("Deleted.");
    this.#commands.deleted(id);
    await this.refresh();
  }

  /** @param {string} emptyText shown for an empty list */
  #draw(emptyText) {
    const focused = document.activeElement;
    const id = focused?.closest(".conversation-row")?.getAttribute("data-id");
    const kind = focused?.localName ?? "";
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
    const age = active_run_id ? "running" : relativeTime(new Date(updated_at));
    const time = element("time", "", age);
    time.dateTime = updated_at;
    const link = element("a", "", element("span", "conversation-title", name), time);
    link.href = urlFor({ conversationId: id, orgId: this.#settings.orgInLinks });
    link.title = name;
    const remove = element("button", "icon-button", icon("delete"));
    remove.type = "button";
    remove.ariaLabel = remove.title = `Delete “${name}”`;
    const row = element("li", "conversation-row", link, remove);
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
