/** The dialog in which the settings of the demo page are edited. */

import { byId } from "../chat/dom.js";
import { sheet } from "../chat/styles/sheet.js";

const form = sheet(`
.dialog form {
  display: grid;
  gap: 0.875rem;
}

.dialog form h2 {
  margin-bottom: 0;
}

.dialog :is(label, legend) {
  color: var(--muted);
  font-size: var(--small);
}

.dialog label {
  display: grid;
  gap: 0.25rem;
}

.dialog input {
  color: var(--ink);
}

.dialog small {
  font-size: 0.75rem;
  color: var(--muted);
}

.dialog fieldset {
  display: grid;
  grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr));
  gap: 0.25rem 0.75rem;
}

.dialog legend {
  padding: 0;
  margin-bottom: 0.25rem;
}

.dialog fieldset small {
  grid-column: 1 / -1;
}

.dialog label.check {
  grid-template-columns: auto minmax(0, 1fr);
  align-items: center;
  gap: 0 0.5rem;
  min-height: 1.75rem;
  color: var(--ink);
  font-size: 0.875rem;
}

.dialog fieldset label.check {
  font: var(--small) / 1.5 var(--mono);
}

.dialog .check small {
  grid-column: 2;
}

.dialog input[type="checkbox"] {
  width: 1.125rem;
  height: 1.125rem;
  margin: 0;
  accent-color: var(--accent);
}

.key-notice {
  padding: 0.5rem 0.75rem;
  border-radius: 0.5rem;
  background: var(--red-soft);
  font-size: 0.875rem;
}
`);

/**
 * @typedef {object} Values
 * @property {string} orgId "" for the default one
 * @property {number} [maxIterations] the server's default if omitted
 * @property {string[]} [events] all if omitted
 * @property {boolean} background true unless switched off: phones stop pages that are hidden
 */

export class SettingsDialog {
  #settings;
  /** @type {HTMLDialogElement} */
  #dialog = byId(document, "settings");
  /** @type {HTMLFormElement} */
  #form = byId(document, "settings-form");
  #keyRequested = false;

  /** @param {import("./settings.js").Settings} settings */
  constructor(settings) {
    document.adoptedStyleSheets.push(form);
    this.#settings = settings;
    byId(document, "settings-cancel").addEventListener("click", () => this.#dialog.close());
    this.#form.addEventListener("submit", this.#onSubmit);
  }

  open() {
    if (this.#dialog.open) return;
    this.#fill();
    this.#dialog.showModal();
  }

  /**
   * Offer a field for an API key, and open the dialog to ask for it.
   *
   * @param {string} message of the server
   * @param {boolean} open false if the user may sign in instead
   */
  askForKey(message, open) {
    this.#keyRequested = true;
    if (!open) return;
    this.open();
    const notice = byId(document, "key-notice");
    notice.textContent = message;
    notice.hidden = false;
    this.#field("api_key").focus();
  }

  #fill() {
    const { apiKey, chat, orgInLinks, values } = this.#settings;
    const { maxIterations, events, background } = values;
    byId(document, "key-notice").hidden = true;
    byId(document, "key-field").hidden = !this.#keyRequested && !apiKey;
    this.#field("api_key").value = apiKey;
    this.#field("org_id").value = orgInLinks;
    this.#field("conversation_id").value = chat.conversationId;
    this.#field("max_iterations").value = maxIterations ? String(maxIterations) : "";
    for (const box of this.#boxes) box.checked = !events || events.includes(box.value);
    this.#field("background").checked = background;
  }

  #onSubmit = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const text = (/** @type {string} */ name) => this.#field(name).value.trim();
    const chosen = this.#boxes.filter(({ checked }) => checked).map(({ value }) => value);
    const values = {
      orgId: text("org_id"),
      maxIterations: Number(text("max_iterations")) || undefined,
      events: chosen.length === this.#boxes.length ? undefined : chosen,
      background: this.#field("background").checked,
    };
    this.#dialog.close();
    this.#settings.save(values, text("api_key"), text("conversation_id"));
  };

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
