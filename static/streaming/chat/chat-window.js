/** The parts of one component, connected: user actions, the chat and the views. */

import { AgentClient } from "../client/agent-client.js";
import { loadFromTab, saveInTab } from "./browser-storage.js";
import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { byId } from "./dom.js";
import { conversationInUrl, navigate, replaceUrl } from "./page-url.js";
import { Pane } from "./pane.js";
import { Status } from "./status.js";
import { Transcript } from "./transcript.js";

/** @import { Outcome } from "./types.js" */
/** @import { Language } from "./language.js" */
/** @import { Options } from "./options.js" */

/** Maximum length of the shown title, which is taken from the prompt. */
const TITLE_CHARS = 120;
/** Width in px from which the conversations are beside the chat of a whole page. */
const BESIDE_WIDTH = 832;

export class ChatWindow {
  #root;
  #options;
  #language;
  #emit;
  #ended = new AbortController();
  #client;
  #status;
  #composer;
  #chat;
  /** Loaded when it is shown. @type {import("./conversation-list.js").ConversationList | undefined} */
  #list;
  #isListShown = false;
  /** @type {Pane | undefined} */
  #sidebar;
  /** @type {import("./floating-panel.js").FloatingPanel | undefined} */
  #panel;
  /** @type {import("./developer-details.js").DeveloperDetails | undefined} */
  #details;
  /** Messages from and to other tabs of this browser. */
  #tabs;
  #components;
  /** @type {Promise<import("./branches.js").Branches | undefined> | undefined} */
  #loadedBranches;
  #isPage;
  #begun = false;
  /** The opening of the first conversation. @type {Promise<void> | undefined} */
  #first;

  /**
   * @param {ShadowRoot} root
   * @param {Options} options
   * @param {Language} language
   * @param {(name: string, detail: object) => void} emit tells the host page
   * @param {typeof import("./floating-panel.js").FloatingPanel} [Panel] of a floating one
   */
  constructor(root, options, language, emit, Panel) {
    this.#root = root;
    this.#options = options;
    this.#language = language;
    this.#emit = emit;
    this.#isPage = options.layout === "page";
    const { signal } = this.#ended;
    const client = new AgentClient({ baseUrl: options.api, headers: () => options.headers() });
    this.#client = client;
    this.#tabs = new BroadcastChannel(`agent ${options.api.pathname}`);
    this.#tabs.onmessage = this.#changedElsewhere;
    this.#status = new Status(root, language, () => this.#retryNow());
    const commands = {
      start: (/** @type {string} */ prompt) => this.#chat.start(prompt),
      enqueue: (/** @type {string} */ prompt) => this.#chat.enqueue(prompt),
      pause: () => this.#chat.pause(),
      stop: () => this.stop(),
      clear: () => this.#chat.clear(),
      announce: (/** @type {string} */ text) => this.#status.announce(text),
    };
    this.#composer = new Composer(root, language, commands, `draft ${options.storageKey}`, signal);
    const { details } = options;
    const transcript = new Transcript(
      byId(root, "transcript"),
      byId(root, "conversation"),
      {
        ...{ language, details },
        edit: async (exchange) => (await this.#branches())?.edit(exchange),
        versions: async (exchange) => (await this.#branches())?.show(exchange),
        regenerate: (exchange) => this.#chat.repeat(exchange),
        ...(details && { curl: ({ request }) => this.#curl(request) }),
      },
      signal,
    );
    const { status, composer } = { status: this.#status, composer: this.#composer };
    this.#components = { root, client, transcript, language, options, status, composer };
    this.#chat = new Chat(
      this.#components,
      {
        opened: (title, agent) => this.#opened(title, agent),
        changed: (runId) => this.#changed(runId),
        emptied: () => emit("clear", {}),
        followed: (replay) => emit("start", { replay }),
        received: (event, replay) => emit("event", { event, replay }),
        completed: (outcome) => emit("complete", outcome),
        branched: async (exchange) => (await this.#branches())?.locate(exchange),
        ended: () => emit("end", {}),
        failed: (error) => this.#failed(error),
      },
    );
    if (options.history) this.#addHistory();
    if (Panel) this.#addPanel(Panel);
    if (this.#isPage) this.#addPageBehaviour(signal);
    const renew = root.getElementById("renew");
    renew?.addEventListener("click", () => this.open(""));
  }

  /** Show the conversation of the URL or of this tab. A floating one waits until it is opened. */
  begin() {
    if (this.#options.details) this.#addDetails();
    if (this.#panel) this.#panel.restore();
    else this.#openFirst();
  }

  get conversationId() {
    return this.#options.conversationId;
  }

  /**
   * Start a run, unless one is active.
   *
   * @param {string} prompt
   * @returns {Promise<Outcome | undefined>} undefined if it was not started or failed
   */
  async ask(prompt) {
    this.show();
    if (!this.#chat.idle && this.#chat.isFree) await this.#first; // it is being loaded
    if (!prompt.trim() || !this.#chat.isFree) return undefined;
    return this.#chat.start(prompt);
  }

  stop() {
    this.#chat.stop();
  }

  focus() {
    this.#composer.focus();
  }

  /** Open the panel of a floating component. */
  show() {
    this.#panel?.show();
  }

  /** Close the panel of a floating component. */
  hide() {
    this.#panel?.hide();
  }

  /**
   * Show a conversation; without an id, a new one.
   *
   * @param {string} conversationId
   */
  open(conversationId) {
    this.#begun = true;
    if (this.#isPage) navigate(conversationId);
    this.#sidebar?.closeDrawer();
    if (!conversationId) this.focus();
    return this.#chat.open(conversationId);
  }

  /** Load the list of conversations again, and what developers see of the agent. */
  refresh() {
    this.#list?.refresh();
    this.#details?.showAgent();
  }

  /** Leave the run, which continues, and free all that belongs to the window. */
  close() {
    this.#chat.leave();
    this.#ended.abort();
    this.#status.close();
    this.#tabs.close();
    if (this.#list) this.#list.active = false;
  }

  #branches() {
    this.#loadedBranches ??= import("./branches.js").then(
      ({ Branches }) => new Branches(this.#components, this.#chat),
      () => (this.#loadedBranches = undefined), // unreachable: the next click tries again
    );
    return this.#loadedBranches;
  }

  /** Add what developers want to know; its modules are loaded only for them. */
  async #addDetails() {
    const module = await import("./developer-details.js").catch(() => undefined);
    const { signal } = this.#ended;
    if (signal.aborted || !module) return;
    const parts = /** @type {const} */ ([this.#client, this.#options, this.#status]);
    const back = () => this.#list?.refresh();
    this.#details = new module.DeveloperDetails(this.#root, ...parts, signal, back);
  }

  /** @param {boolean} shown */
  async #showList(shown) {
    this.#isListShown = shown;
    const module = shown && (await import("./conversation-list.js").catch(() => undefined));
    const { signal } = this.#ended;
    if (module && !this.#list && !signal.aborted) {
      const { client } = this.#components;
      this.#list = new module.ConversationList(this.#root, client, this.#options, this.#language, {
        open: (id) => this.open(id),
        deleted: (id) => id === this.conversationId && this.open(""),
        renamed: (id, title) => id === this.conversationId && this.#nameConversation(title),
        listed: () => this.#listed(),
        refused: (error) => this.#failed(error),
        announce: (text) => this.#status.announce(text),
      });
      this.#list.current = this.conversationId;
    }
    if (this.#list) this.#list.active = this.#isListShown && !signal.aborted;
  }

  #addHistory() {
    const [pane, chat] = ["sidebar", "chat"].map((id) => byId(this.#root, id));
    this.#sidebar = new Pane(
      "sidebar",
      {
        state: /** @type {HTMLElement} */ (pane.parentElement),
        pane,
        toggle: byId(this.#root, "sidebar-toggle"),
        close: byId(this.#root, "sidebar-close"),
        scrim: byId(this.#root, "scrim"),
        covered: () => [chat],
      },
      { openAtFirst: true, role: "navigation", onShow: (shown) => this.#showList(shown) },
    );
    byId(this.#root, "new").addEventListener("click", () => this.open(""));
    byId(this.#root, "skip").addEventListener("click", () => this.focus());
    const foot = this.#root.querySelector(".sidebar-foot");
    foot?.toggleAttribute("hidden", !this.#root.host.querySelector(":scope > [slot=sidebar]"));
    const isWide = () => this.#isPage && this.#root.host.clientWidth >= BESIDE_WIDTH;
    const sidebar = this.#sidebar;
    sidebar.beside = isWide();
    const observer = new ResizeObserver(() => (sidebar.beside = isWide()));
    observer.observe(this.#root.host);
    this.#ended.signal.addEventListener("abort", () => observer.disconnect());
  }

  /** @param {typeof import("./floating-panel.js").FloatingPanel} Panel */
  #addPanel(Panel) {
    const until = this.#ended.signal;
    this.#panel = new Panel(this.#root, this.#options, this.#language, until, (shown) => {
      this.#emit(shown ? "open" : "close", {});
      if (!shown) return;
      if (!this.#begun) this.#openFirst();
      this.focus();
    });
  }

  /** @param {AbortSignal} signal */
  #addPageBehaviour(signal) {
    addEventListener("popstate", () => this.#openFirst(), { signal });
    if (document.activeElement === document.body) this.focus();
  }

  #openFirst() {
    this.#begun = true;
    this.#list?.refresh();
    const stored = loadFromTab(this.#options.storageKey);
    this.#first = this.#chat.open(this.#isPage ? conversationInUrl() : stored);
  }

  /**
   * Record that another conversation is shown, or that a new one got its title.
   *
   * @param {string} title
   * @param {string} [agent] of the conversation's last run
   */
  #opened(title, agent) {
    const { conversationId, storageKey } = this.#options;
    if (!this.#isPage) saveInTab(storageKey, conversationId);
    else if (conversationInUrl() && !conversationId) navigate("");
    else replaceUrl(conversationId);
    if (this.#list) this.#list.current = conversationId;
    this.#nameConversation(title);
    this.#emit("conversation", { conversationId, title, agent });
  }

  /** @param {string} title */
  #nameConversation(title) {
    const shown = title.slice(0, TITLE_CHARS) || this.#language.text("newConversation");
    byId(this.#root, "conversation-title").textContent = shown;
    this.showTitle();
  }

  /** Name the conversation and the agent in the title of a page that is the chat's own. */
  showTitle() {
    if (!this.#isPage) return;
    const heading = byId(this.#root, "heading").textContent ?? "";
    const title = this.conversationId && byId(this.#root, "conversation-title").textContent;
    document.title = title ? `${title} – ${heading}` : heading;
  }

  /**
   * Notify the list and other tabs that a run of this tab began or ended.
   *
   * @param {string} runId
   */
  #changed(runId) {
    this.#list?.refresh();
    if (this.#ended.signal.aborted) return;
    const { conversationId, orgId } = this.#options;
    this.#tabs.postMessage({ runId, conversationId, orgId });
  }

  /**
   * Handle a run that began or ended in another tab: reload its conversation if it is open
   * here and the run was not followed here.
   *
   * @param {MessageEvent} message
   */
  #changedElsewhere = ({ data: { runId, conversationId, orgId } }) => {
    this.#list?.refresh();
    const isShown = conversationId === this.conversationId && orgId === this.#options.orgId;
    if (!conversationId || !isShown) return;
    if (!this.#chat.idle) this.#chat.readQueue();
    else if (this.#chat.lastRunId !== runId) this.#chat.open(conversationId);
  };

  /** After the list was loaded, join a run that another client started in the open conversation. */
  #listed() {
    const { conversationId } = this;
    if (this.#chat.idle && this.#list?.activeRunOf(conversationId)) this.#chat.open(conversationId);
  }

  /** @param {any} error */
  #failed({ message, code = "", status = 0 }) {
    this.#emit("error", { message, code, status });
  }

  #retryNow() {
    this.#chat.retryNow();
    this.#details?.checkServer();
  }

  /** @param {import("./types.js").AnyRequest} request */
  async #curl(request) {
    const { curlCommand } = await import("./curl.js");
    const { api } = this.#options;
    return curlCommand(new URL("stream", api), request, await this.#options.headers());
  }
}
