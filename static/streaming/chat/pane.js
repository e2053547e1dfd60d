/** A pane beside the chat: open or closed; in a narrow window, a drawer above it. */

import { load, save } from "./browser-storage.js";

/** @import { PaneOptions, PaneParts } from "./types.js" */

export class Pane {
  #name;
  #parts;
  #options;
  /** @type {boolean | undefined} Undefined before the width is known. */
  #beside;

  /**
   * @param {string} name under which the browser keeps the user's choice
   * @param {PaneParts} parts
   * @param {PaneOptions} options
   */
  constructor(name, parts, options) {
    this.#name = name;
    this.#parts = parts;
    this.#options = options;
    parts.toggle.addEventListener("click", this.#onToggle);
    parts.close.addEventListener("click", () => this.closeDrawer());
    parts.scrim.addEventListener("click", () => this.closeDrawer());
    parts.pane.addEventListener("keydown", this.#onKeyDown);
  }

  /** Adjust the pane after its window became wide enough or too narrow. */
  set beside(/** @type {boolean} */ beside) {
    if (beside === this.#beside) return;
    this.#show(false);
    this.#beside = beside;
    const chosen = load(this.#name) || (this.#options.openAtFirst ? "open" : "closed");
    this.#show(beside && chosen === "open");
  }

  /** Close the pane if it covers the chat. */
  closeDrawer() {
    if (!this.#isDrawer) return;
    this.#show(false);
    this.#parts.toggle.focus();
  }

  get #isOpen() {
    return this.#parts.state.dataset[this.#name] === "open";
  }

  get #isDrawer() {
    return this.#parts.pane.ariaModal === "true";
  }

  #onToggle = () => {
    const open = !this.#isOpen;
    if (this.#beside) save(this.#name, open ? "open" : "closed");
    this.#show(open);
    if (this.#isDrawer) this.#parts.close.focus();
  };

  #onKeyDown = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Escape" || event.defaultPrevented || !this.#isDrawer) return;
    event.preventDefault(); // the panel around it stays open
    this.closeDrawer();
  };

  /** @param {boolean} open */
  #show(open) {
    const { state, toggle } = this.#parts;
    const drawer = open && !this.#beside;
    if (drawer || this.#isDrawer) this.#cover(drawer);
    state.dataset[this.#name] = open ? "open" : "closed";
    toggle.ariaExpanded = String(open);
    this.#options.onShow?.(open);
  }

  /**
   * Make a pane above the chat a modal dialog, and everything else inert.
   *
   * @param {boolean} drawer
   */
  #cover(drawer) {
    const { pane, scrim, covered } = this.#parts;
    pane.ariaModal = drawer ? "true" : null;
    pane.role = drawer ? "dialog" : this.#options.role;
    scrim.hidden = !drawer;
    for (const other of covered()) if (other instanceof HTMLElement) other.inert = drawer;
  }
}
