/** The settings sent with each prompt: edited in a dialog, kept in the browser. */

import { load, loadFromTab, save, saveInTab } from "./browser-storage.js";
import { byId } from "./dom.js";

/** @typedef {import("../client/agent-client.js").RunRequest} RunRequest */

/**
 * @typedef {object} Values
 * @property {string} orgId
 * @property {number} [maxIterations] the server's default if omitted
 * @property {string[]} [events] all if omitted
 * @property {boolean} background
 */

const DEFAULT_ORGANIZATION = "default";

export class Settings {
  /** @type {HTMLDialogElement} */
  #dialog = byId("settings");
  /** @type {HTMLFormElement} */
  #form = byId("settings-form");
  #organization = byId("organization");
  /** @type {Values} */
  #values = loadValues();
  #apiKey = loadFromTab("api-key");
  #keyRequested = false;
  /** The shown conversation; "" for a new one, which the server will name. */
  conversationId = "";
  /**
   * Called after the dialog was saved; the argument is true if the organization, conversation
   * or key changed.
   *
   * @type {(targetChanged: boolean) => void}
   */
  onSave = () => {};

  constructor() {
    byId("open-settings").addEventListener("click", () => this.open());
    byId("settings-cancel").addEventListener("click", () => this.#dialog.close());
    this.#form.addEventListener("submit", this.#onSubmit);
    this.#showOrganization();
  }

  get orgId() {
    return this.#values.orgId;
  }

  /** Set the organization without saving it, for example from a link. */
  set orgId(/** @type {string} */ orgId) {
    this.#values.orgId = orgId || DEFAULT_ORGANIZATION;
    this.#showOrganization();
  }

  /** The organization as a link names it: "" for the default one. */
  get orgInLinks() {
    return this.orgId === DEFAULT_ORGANIZATION ? "" : this.orgId;
  }

  /** Event types to receive; undefined for all. */
  get events() {
    return /** @type {any} */ (this.#values.events);
  }

  /** Headers of each request. @returns {Record<string, string>} */
  get headers() {
    return this.#apiKey ? { Authorization: `Bearer ${this.#apiKey}` } : {};
  }

  /**
   * Build the request of a run.
   *
   * @param {string} input
   * @returns {RunRequest}
   */
  request(input) {
    const { orgId, maxIterations, events, background } = this.#values;
    return {
      input,
      org_id: orgId,
      conversation_id: this.conversationId || undefined,
      max_iterations: maxIterations,
      events: /** @type {any} */ (events),
      background: background || undefined,
    };
  }

  /** Open the dialog. */
  open() {
    if (this.#dialog.open) return;
    this.#fill();
    this.#dialog.showModal();
  }

  /**
   * Ask for an API key after the server has rejected a request.
   *
   * @param {string} message
   */
  askForKey(message) {
    this.#keyRequested = true;
    this.open();
    const notice = byId("key-notice");
    notice.textContent = message;
    notice.hidden = false;
    this.#field("api_key").focus();
  }

  #fill() {
    const { orgId, maxIterations, events, background } = this.#values;
    byId("key-notice").hidden = true;
    byId("key-field").hidden = !this.#keyRequested && !this.#apiKey;
    this.#field("api_key").value = this.#apiKey;
    this.#field("org_id").value = orgId === DEFAULT_ORGANIZATION ? "" : orgId;
    this.#field("conversation_id").value = this.conversationId;
    this.#field("max_iterations").value = maxIterations ? String(maxIterations) : "";
    for (const box of this.#boxes) box.checked = !events || events.includes(box.value);
    this.#field("background").checked = background;
  }

  #onSubmit = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const text = (/** @type {string} */ name) => this.#field(name).value.trim();
    const before = this.#target;
    const chosen = this.#boxes.filter(({ checked }) => checked).map(({ value }) => value);
    this.#values = {
      orgId: text("org_id") || DEFAULT_ORGANIZATION,
      maxIterations: Number(text("max_iterations")) || undefined,
      events: chosen.length === this.#boxes.length ? undefined : chosen,
      background: this.#field("background").checked,
    };
    this.conversationId = text("conversation_id");
    this.#apiKey = text("api_key");
    save("settings", JSON.stringify(this.#values));
    saveInTab("api-key", this.#apiKey);
    this.#showOrganization();
    this.#dialog.close();
    this.onSave(this.#target !== before);
  };

  get #target() {
    return JSON.stringify([this.orgId, this.conversationId, this.#apiKey]);
  }

  #showOrganization() {
    this.#organization.textContent = this.orgId;
    this.#organization.title = `Organization ${this.orgId}`;
  }

  get #boxes() {
    /** @type {NodeListOf<HTMLInputElement>} */
    const boxes = this.#form.querySelectorAll("[name=events]");
    return [...boxes];
  }

  /**
   * @param {string} name
   * @returns {HTMLInputElement}
   */
  #field(name) {
    return /** @type {HTMLInputElement} */ (this.#form.elements.namedItem(name));
  }
}

/** @returns {Values} */
function loadValues() {
  /** @type {any} */
  let saved = {};
  try {
    saved = JSON.parse(load("settings") || "{}");
  } catch {
    // not written by this page
  }
  const { orgId, maxIterations, events, background } = saved ?? {};
  return {
    orgId: typeof orgId === "string" && orgId ? orgId : DEFAULT_ORGANIZATION,
    maxIterations: Number.isInteger(maxIterations) ? maxIterations : undefined,
    events: Array.isArray(events) ? events.map(String) : undefined,
    background: background === true,
  };
}
