/** What goes with each prompt: set in a dialog, and remembered. */

import { byId } from "./dom.js";
import { recall, recallInTab, remember, rememberInTab } from "./browser-storage.js";

/** @typedef {import("../client/agent-client.js").RunRequest} RunRequest */

/**
 * @typedef {object} Values
 * @property {string} orgId
 * @property {number} [maxIterations] the server's when left out
 * @property {string[]} [events] all when left out
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
  #values = recalled();
  #apiKey = recallInTab("api-key");
  #keyWanted = false;
  /** The conversation that is shown; "" for one that the server will name. */
  conversationId = "";
  /**
   * Called when the dialog was saved, with whether organization, conversation or key are
   * others now.
   *
   * @type {(elsewhere: boolean) => void}
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

  /** From a link, for example; it is not remembered. */
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

  /** What each request to the server has. @returns {Record<string, string>} */
  get headers() {
    return this.#apiKey ? { Authorization: `Bearer ${this.#apiKey}` } : {};
  }

  /**
   * The request of a run.
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

  /** Let a person change them. */
  open() {
    if (this.#dialog.open) return;
    this.#fill();
    this.#dialog.showModal();
  }

  /**
   * The server wants a key, or another one.
   *
   * @param {string} message
   */
  askForKey(message) {
    this.#keyWanted = true;
    this.open();
    const notice = byId("key-notice");
    notice.textContent = message;
    notice.hidden = false;
    this.#field("api_key").focus();
  }

  #fill() {
    const { orgId, maxIterations, events, background } = this.#values;
    byId("key-notice").hidden = true;
    byId("key-field").hidden = !this.#keyWanted && !this.#apiKey;
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
    const before = this.#whereabouts;
    const chosen = this.#boxes.filter(({ checked }) => checked).map(({ value }) => value);
    this.#values = {
      orgId: text("org_id") || DEFAULT_ORGANIZATION,
      maxIterations: Number(text("max_iterations")) || undefined,
      events: chosen.length === this.#boxes.length ? undefined : chosen,
      background: this.#field("background").checked,
    };
    this.conversationId = text("conversation_id");
    this.#apiKey = text("api_key");
    remember("settings", JSON.stringify(this.#values));
    rememberInTab("api-key", this.#apiKey);
    this.#showOrganization();
    this.#dialog.close();
    this.onSave(this.#whereabouts !== before);
  };

  get #whereabouts() {
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
function recalled() {
  /** @type {any} */
  let kept = {};
  try {
    kept = JSON.parse(recall("settings") || "{}");
  } catch {
    // written by something else
  }
  const { orgId, maxIterations, events, background } = kept ?? {};
  return {
    orgId: typeof orgId === "string" && orgId ? orgId : DEFAULT_ORGANIZATION,
    maxIterations: Number.isInteger(maxIterations) ? maxIterations : undefined,
    events: Array.isArray(events) ? events.map(String) : undefined,
    background: background === true,
  };
}
