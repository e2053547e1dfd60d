/** The panes beside the chat: folded away or not; in a narrow window, drawers above it. */

import { byId } from "./dom.js";
import { recall, remember } from "./browser-storage.js";

const root = document.documentElement;

/** @typedef {"sidebar" | "inspector"} PaneName */

export class Pane {
  #name;
  #pane;
  #toggle;
  #scrim = byId("scrim");
  #beside;

  /** @param {PaneName} name */
  constructor(name) {
    this.#name = name;
    this.#pane = byId(name);
    this.#toggle = byId(`${name}-toggle`);
    this.#beside = matchMedia(root.dataset[`${name}Beside`] ?? "");
    this.#beside.addEventListener("change", this.#settle);
    this.#toggle.addEventListener("click", this.#onToggle);
    byId(`${name}-close`).addEventListener("click", () => this.closeDrawer());
    this.#scrim.addEventListener("click", () => this.closeDrawer());
    this.#pane.addEventListener("keydown", this.#onKeyDown);
    this.#show(this.#isOpen);
  }

  /** Where the pane covers the chat, let the chat be seen. */
  closeDrawer() {
    if (!this.#isDrawer) return;
    this.#show(false);
    this.#toggle.focus();
  }

  get #isOpen() {
    return root.dataset[this.#name] === "open";
  }

  get #isDrawer() {
    return this.#pane.ariaModal === "true";
  }

  #onToggle = () => {
    const open = !this.#isOpen;
    if (this.#beside.matches) remember(this.#name, open ? "" : "closed");
    this.#show(open);
    if (this.#isDrawer) byId(`${this.#name}-close`).focus();
  };

  #onKeyDown = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Escape") this.closeDrawer();
  };

  /** The window became wide enough, or no more. */
  #settle = () => {
    this.#show(false);
    this.#show(this.#beside.matches && recall(this.#name) !== "closed");
  };

  /** @param {boolean} open */
  #show(open) {
    const drawer = open && !this.#beside.matches;
    if (drawer || this.#isDrawer) this.#cover(drawer);
    root.dataset[this.#name] = open ? "open" : "closed";
    this.#toggle.ariaExpanded = String(open);
  }

  /**
   * Above the chat it is a dialog, and nothing else can be reached.
   *
   * @param {boolean} drawer
   */
  #cover(drawer) {
    this.#pane.ariaModal = drawer ? "true" : null;
    this.#pane.role = drawer ? "dialog" : "complementary";
    this.#scrim.hidden = !drawer;
    for (const other of document.querySelectorAll(".chat, .pane, .skip-link")) {
      if (other instanceof HTMLElement && other !== this.#pane) other.inert = drawer;
    }
  }
}
