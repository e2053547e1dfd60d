/**
 * The element `<agent-chat>`: a chat with an agent, to embed in any page.
 *
 *     <script type="module" src="/static/streaming/chat/agent-chat.js"></script>
 *     <agent-chat api="/agents/api/v1/agent/" agent="support"></agent-chat>
 *
 * docs/embedding.md lists its attributes, properties, methods, events and CSS properties.
 */

import { ChatWindow } from "./chat-window.js";
import { byId } from "./dom.js";
import { buildFrame, showQuestions } from "./frame.js";
import { loadLanguage } from "./language.js";
import { useLibraries } from "./libraries.js";
import { loadMarkdown } from "./markdown.js";
import { Options } from "./options.js";
import { base } from "./styles/base.js";
import { transcript } from "./styles/transcript.js";
import { layout } from "./styles/window.js";

/** @import { Outcome } from "./types.js" */

const STYLES = [base, layout, transcript];
const PREFIX = "agent-chat:";
/** Attributes that are applied at once; the others count when the element is connected. */
const LIVE = ["theme", "heading", "questions"];

export class AgentChat extends HTMLElement {
  static observedAttributes = LIVE;

  /**
   * Facts of the host page for the agent's tools; replaces the attribute `context`.
   *
   * @type {Record<string, string> | undefined}
   */
  context = valueBefore(this, "context");
  /**
   * Further fields of each request, such as `max_iterations`; replaces the attribute
   * `request`.
   *
   * @type {Partial<import("./options.js").RunRequest> | undefined}
   */
  request = valueBefore(this, "request");
  /**
   * Headers of each request, or a function that returns them.
   *
   * @type {import("./options.js").Properties["headers"]}
   */
  headers = valueBefore(this, "headers") ?? {};

  #root = this.attachShadow({ mode: "open" });
  #options = new Options(this, this);
  /** @type {ChatWindow | undefined} */
  #window;
  /** @type {Promise<void> | undefined} */
  #starting;

  constructor() {
    super();
    for (const type of ["keydown", "keypress", "keyup"]) {
      this.#root.addEventListener(type, keepFromShortcuts);
    }
  }

  connectedCallback() {
    this.#root.adoptedStyleSheets = STYLES;
    this.#starting = this.#start();
  }

  disconnectedCallback() {
    this.#window?.close();
    this.#window = this.#starting = undefined;
    this.#root.replaceChildren();
  }

  /**
   * @param {string} name
   * @param {string | null} _before
   * @param {string | null} value
   */
  attributeChangedCallback(name, _before, value) {
    const frame = /** @type {HTMLElement | null} */ (this.#root.firstElementChild);
    if (!frame) return;
    if (name === "theme" && value) frame.dataset.theme = value;
    else if (name === "theme") delete frame.dataset.theme;
    else if (name === "questions") showQuestions(byId(this.#root, "examples"), this.#options.questions);
    else if (value) {
      byId(this.#root, "heading").textContent = value;
      this.#window?.showTitle();
    }
  }

  /** The shown conversation, "" for a new one. */
  get conversationId() {
    return this.#options.conversationId;
  }

  /** True while the panel of a floating chat is open. */
  get open() {
    return this.#root.querySelector("dialog#panel")?.hasAttribute("open") ?? false;
  }

  /**
   * Ask a question, unless an answer is being written.
   *
   * @param {string} text
   * @returns {Promise<Outcome | undefined>} the end of the answer; undefined if the question
   *   was not sent or failed, which the event `agent-chat:error` explains
   */
  async ask(text) {
    await this.#starting;
    return this.#window?.ask(text);
  }

  /** Stop the answer that is being written. */
  stop() {
    this.#window?.stop();
  }

  /**
   * Show a conversation; without an id, begin a new one.
   *
   * @param {string} [id]
   */
  async openConversation(id = "") {
    await this.#starting;
    await this.#window?.open(id);
  }

  /** Open the panel of a floating chat. */
  async show() {
    await this.#starting;
    this.#window?.show();
  }

  /** Close the panel of a floating chat. */
  hide() {
    this.#window?.hide();
  }

  /** Read the list of conversations and the agent's model again, as after a change of `headers`. */
  refresh() {
    this.#window?.refresh();
  }

  focus() {
    this.#window?.focus();
  }

  /** Build the window when its texts and libraries are there. */
  async #start() {
    useLibraries(this.#options.libraries);
    const { language: tag, texts } = this.#options;
    const floats = this.#options.layout === "floating";
    const [language, floating] = await Promise.all([
      loadLanguage(tag, texts),
      floats ? import("./floating-panel.js") : undefined,
      loadMarkdown(),
    ]);
    if (!this.isConnected || this.#window) return;
    this.#root.replaceChildren(buildFrame(this.#options, language));
    const emit = (/** @type {string} */ name, /** @type {object} */ detail) =>
      this.dispatchEvent(new CustomEvent(PREFIX + name, { detail, bubbles: true, composed: true }));
    const Panel = floating?.FloatingPanel;
    this.#window = new ChatWindow(this.#root, this.#options, language, emit, Panel);
    this.#window.begin();
    emit("ready", {});
  }
}

/**
 * Keep what the user writes from the host page's shortcuts: outside of a shadow root, the
 * target of an event is the element, and not the field.
 *
 * @param {Event} event
 */
function keepFromShortcuts(event) {
  const { target } = event;
  const isField = target instanceof HTMLTextAreaElement || target instanceof HTMLInputElement;
  if (isField) event.stopPropagation();
}

/**
 * Return a property that a program has set before this module was loaded.
 *
 * @param {any} element
 * @param {string} name
 */
function valueBefore(element, name) {
  return element[name];
}

if (!customElements.get("agent-chat")) customElements.define("agent-chat", AgentChat);
