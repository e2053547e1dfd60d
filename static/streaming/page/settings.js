/** The settings of the demo page, kept in the browser. */

import { load, loadFromTab, save, saveInTab } from "../chat/browser-storage.js";
import { byId } from "../chat/dom.js";

/** @import { AgentChat } from "../chat/agent-chat.js" */
/** @import { Values } from "./settings-dialog.js" */

const DEFAULT_ORGANIZATION = "default";

export class Settings {
  #organization = byId(document, "organization");
  values = loadValues();
  apiKey = loadFromTab("api-key");
  /** @type {Promise<import("./settings-dialog.js").SettingsDialog> | undefined} */
  #dialog;

  /**
   * @param {AgentChat} chat takes over the settings at once, and after each change
   */
  constructor(chat) {
    this.chat = chat;
    byId(document, "open-settings").addEventListener("click", async () => {
      (await this.#loadDialog()).open();
    });
    this.#apply();
  }

  get orgId() {
    return this.values.orgId;
  }

  /** Set the organization without saving it, for example from a link. */
  set orgId(/** @type {string} */ orgId) {
    this.values.orgId = orgId || DEFAULT_ORGANIZATION;
    this.#apply();
  }

  /** The organization as a link names it: "" for the default one. */
  get orgInLinks() {
    return this.orgId === DEFAULT_ORGANIZATION ? "" : this.orgId;
  }

  /**
   * Ask for an API key after the server has rejected a request.
   *
   * @param {string} message
   * @param {boolean} open false if the user may sign in instead
   */
  async askForKey(message, open) {
    (await this.#loadDialog()).askForKey(message, open);
  }

  /**
   * Save the settings, and show another conversation if they name one.
   *
   * @param {Values} values
   * @param {string} apiKey
   * @param {string} conversationId
   */
  save(values, apiKey, conversationId) {
    const before = JSON.stringify([this.orgId, this.chat.conversationId, this.apiKey]);
    this.values = { ...values, orgId: values.orgId || DEFAULT_ORGANIZATION };
    this.apiKey = apiKey;
    save("settings", JSON.stringify(this.values));
    saveInTab("api-key", apiKey);
    this.#apply();
    if (before === JSON.stringify([this.orgId, conversationId, apiKey])) return;
    this.chat.openConversation(conversationId);
    this.chat.refresh();
  }

  /** Load the dialog's module when it is opened for the first time. */
  #loadDialog() {
    this.#dialog ??= import("./settings-dialog.js").then(
      ({ SettingsDialog }) => new SettingsDialog(this),
    );
    return this.#dialog;
  }

  #apply() {
    const { orgId, maxIterations, events, background } = this.values;
    this.chat.request = {
      org_id: orgId,
      max_iterations: maxIterations,
      events: /** @type {any} */ (events),
      background: background || undefined,
    };
    this.chat.headers = this.apiKey ? { Authorization: `Bearer ${this.apiKey}` } : {};
    this.#organization.textContent = orgId;
    this.#organization.title = `Organization ${orgId}`;
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
    background: background !== false,
  };
}
