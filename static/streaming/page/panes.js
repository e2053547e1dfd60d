/** The panes beside the chat: open or closed; in a narrow window, drawers above it. */

import { load, save } from "./browser-storage.js";
import { byId } from "./dom.js";

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
    this.#beside.addEventListener("change", this.#onWidthChange);
    this.#toggle.addEventListener("click", this.#onToggle);
    byId(`${name}-close`).addEventListener("click", () => this.closeDrawer());
    this.#scrim.addEventListener("click", () => this.closeDrawer());
    this.#pane.addEventListener("keydown", this.#onKeyDown);
    this.#show(this.#isOpen);
  }

  /** Close the pane if it covers the chat. */
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
    if (this.#beside.matches) save(this.#name, open ? "" : "closed");
    this.#show(open);
    if (this.#isDrawer) byId(`${this.#name}-close`).focus();
  };

  #onKeyDown = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Escape") this.closeDrawer();
  };

  /** Adjust the pane after the window became wide enough or too narrow. */
  #onWidthChange = () => {
    this.#show(false);
    this.#show(this.#beside.matches && load(this.#name) !== "closed");
  };

  /** @param {boolean} open */
  #show(open) {
    const drawer = open && !this.#beside.matches;
    if (drawer || this.#isDrawer) this.#cover(drawer);
    root.dataset[this.#name] = open ? "open" : "closed";
    this.#toggle.ariaExpanded = String(open);
  }

  /**
   * Make a pane above the chat a modal dialog, and everything else inert.
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
