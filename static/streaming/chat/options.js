/** The options of a component, which its attributes and properties give. */

/** @typedef {import("./types.js").Properties} Properties */
/** @typedef {import("../client/agent-client.js").RunRequest} RunRequest */
/** @import { Texts } from "./language.js" */
/** @typedef {"inline" | "floating" | "page"} Layout */
/** @typedef {{prompt: string, title?: string}} Question */
/** @typedef {Record<string, string>} Headers */

const LAYOUTS = ["inline", "floating", "page"];

export class Options {
  #element;
  #properties;
  /** The shown conversation; "" for a new one, which the server will name. */
  conversationId = "";

  /**
   * @param {HTMLElement} element
   * @param {Properties} properties
   */
  constructor(element, properties) {
    this.#element = element;
    this.#properties = properties;
  }

  /** The URL of the API. */
  get api() {
    const url = new URL(this.#text("api") ?? "/api/v1/agent/", document.baseURI);
    if (!url.pathname.endsWith("/")) url.pathname += "/";
    return url;
  }

  get agent() {
    return this.#text("agent");
  }

  /** @returns {Layout} */
  get layout() {
    const layout = this.#text("layout") ?? "";
    return LAYOUTS.includes(layout) ? /** @type {Layout} */ (layout) : "inline";
  }

  /** Light, dark or inherit; that of the system if omitted. */
  get theme() {
    return this.#text("theme") ?? false;
  }

  get heading() {
    return this.#text("heading");
  }

  get intro() {
    return this.#text("intro");
  }

  get placeholder() {
    return this.#text("placeholder");
  }

  get signInUrl() {
    return this.#text("sign-in");
  }

  /** True if developers' details are shown. */
  get details() {
    return this.#element.hasAttribute("details");
  }

  /** True if the user's earlier conversations are offered. */
  get history() {
    return this.#text("history") !== "off";
  }

  /** The language of the element, or of the part of the page around it. */
  get language() {
    return this.#element.closest("[lang]")?.getAttribute("lang") || "en";
  }

  /** Texts of the host page. @returns {Texts} */
  get texts() {
    return this.#json("texts") ?? {};
  }

  /** URLs of the optional libraries. @returns {Record<string, string>} */
  get libraries() {
    return this.#json("libraries") ?? {};
  }

  /** The opening questions, each a text or an object. @returns {Question[]} */
  get questions() {
    const given = this.#json("questions");
    if (!Array.isArray(given)) return [];
    return given.map((each) => (typeof each === "string" ? { prompt: each } : each));
  }

  /** The key under which the browser keeps this component's state. */
  get storageKey() {
    const { agent, layout } = this;
    return [layout, this.api.pathname, agent, this.#element.id].filter(Boolean).join(" ");
  }

  /** The organization, which is also part of requests without a body. */
  get orgId() {
    return this.#request.org_id;
  }

  /** Event types to receive; undefined for all. */
  get events() {
    return this.#request.events;
  }

  /**
   * Build the request of a run.
   *
   * @param {string} input
   * @returns {RunRequest}
   */
  request(input) {
    const context = this.#properties.context ?? this.#json("context");
    return {
      background: true, // phones stop pages that are hidden
      context,
      agent: this.agent,
      ...this.#request,
      input,
      conversation_id: this.conversationId || undefined,
    };
  }

  /** Return the headers of a request: Django's CSRF token, and those of the host page. */
  async headers() {
    const { headers } = this.#properties;
    const own = typeof headers === "function" ? await headers() : headers;
    const token = this.api.origin === location.origin ? this.#csrfToken : undefined;
    return token ? { [this.#text("csrf-header") ?? "X-CSRFToken"]: token, ...own } : own;
  }

  /** The token in the cookie, which a login renews, or else in the attribute. */
  get #csrfToken() {
    const name = this.#text("csrf-cookie");
    const start = `${name}=`;
    const cookie = name && document.cookie.split("; ").find((each) => each.startsWith(start));
    return cookie ? decodeURIComponent(cookie.slice(start.length)) : this.#text("csrf-token");
  }

  /** @returns {Partial<RunRequest>} */
  get #request() {
    return this.#properties.request ?? this.#json("request") ?? {};
  }

  /** @param {string} name */
  #text(name) {
    return this.#element.getAttribute(name) || undefined;
  }

  /**
   * @param {string} name
   * @returns {any}
   */
  #json(name) {
    const text = this.#text(name);
    if (text === undefined) return undefined;
    try {
      return JSON.parse(text);
    } catch {
      console.error(`<agent-chat>: the attribute ${name} is not JSON: ${text}`);
      return undefined;
    }
  }
}
