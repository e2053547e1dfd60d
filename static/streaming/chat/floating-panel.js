/** The panel of a floating component: a dialog beside the page, or on a phone above it. */

import { loadFromTab, saveInTab } from "./browser-storage.js";
import { byId } from "./dom.js";
import { icon } from "./icons.js";
import { sheet } from "./styles/sheet.js";

/** @import { Language } from "./language.js" */
/** @import { Options } from "./options.js" */

/** A button, and the window above it. */
const layout = sheet(`
.root[data-layout="floating"] {
  display: contents;
}

.launcher {
  position: fixed;
  z-index: var(--agent-chat-z-index, 1000);
  inset-block-end: var(--agent-chat-offset, 1.25rem);
  inset-inline-end: var(--agent-chat-offset, 1.25rem);
  width: 3.5rem;
  height: 3.5rem;
  padding: 0;
  border-color: transparent;
  border-radius: 50%;
  background: var(--accent);
  box-shadow: var(--shadow);
  color: var(--on-accent);
}

.launcher .icon {
  width: 1.625rem;
  height: 1.625rem;
}

.panel {
  position: fixed;
  z-index: var(--agent-chat-z-index, 1000);
  inset: auto;
  inset-block-end: calc(var(--agent-chat-offset, 1.25rem) + 4.25rem);
  inset-inline-end: var(--agent-chat-offset, 1.25rem);
  width: var(--agent-chat-width, 25rem);
  max-width: calc(100vw - 2 * var(--agent-chat-offset, 1.25rem));
  height: var(--agent-chat-height, 40rem);
  max-height: calc(100dvh - 6.5rem);
  margin: 0;
  padding: 0;
  overflow: hidden;
  border: 1px solid var(--line);
  border-radius: var(--radius);
  background: var(--ground);
  box-shadow: var(--shadow), 0 12px 48px var(--shade);
  color: var(--ink);
}

.panel[open] {
  animation: rise 0.15s ease-out;
}

/* On a phone it covers the page. */
.panel[data-covers] {
  inset: 0;
  width: 100%;
  max-width: none;
  height: 100%;
  max-height: none;
  border: 0;
  border-radius: 0;
}

@keyframes rise {
  from {
    opacity: 0;
    transform: translateY(0.75rem);
  }
}
`);

/** On windows that are narrower or lower, the panel covers the page. */
const COVERS = "(max-width: 36rem), (max-height: 26rem)";

export class FloatingPanel {
  #language;
  #key;
  #onShow;
  /** @type {HTMLDialogElement} */
  #dialog;
  #launcher;
  #covers = matchMedia(COVERS);

  /**
   * @param {ShadowRoot} root
   * @param {Options} options
   * @param {Language} language
   * @param {AbortSignal} signal the end of the component
   * @param {(shown: boolean) => void} onShow
   */
  constructor(root, options, language, signal, onShow) {
    root.adoptedStyleSheets.push(layout);
    this.#language = language;
    this.#key = `open ${options.storageKey}`;
    this.#onShow = onShow;
    this.#dialog = byId(root, "panel");
    this.#launcher = byId(root, "launcher");
    this.#launcher.addEventListener("click", () => (this.#dialog.open ? this.hide() : this.show()));
    byId(root, "close").addEventListener("click", () => this.hide());
    this.#dialog.addEventListener("keydown", this.#onKeyDown);
    this.#dialog.addEventListener("close", this.#onClose);
    this.#covers.addEventListener("change", () => this.#dialog.open && this.#place(), { signal });
  }

  /** Open the panel if it was open on the previous page of this tab. */
  restore() {
    if (loadFromTab(this.#key)) this.show();
  }

  show() {
    if (this.#dialog.open) return;
    this.#place();
    saveInTab(this.#key, "open");
    this.#draw();
    this.#onShow(true);
  }

  hide() {
    if (this.#dialog.open) this.#dialog.close();
  }

  /** Open the dialog for the size of the window: beside the page, or above all of it. */
  #place() {
    this.#moving = this.#dialog.open;
    if (this.#dialog.open) this.#dialog.close();
    const { matches } = this.#covers;
    this.#dialog.toggleAttribute("data-covers", matches);
    if (matches) this.#dialog.showModal();
    else this.#dialog.show();
  }

  /** The dialog is closed only to be opened in another place. */
  #moving = false;

  #onClose = () => {
    if (this.#moving) {
      this.#moving = false;
      return;
    }
    saveInTab(this.#key, "");
    this.#draw();
    this.#launcher.focus();
    this.#onShow(false);
  };

  // A dialog beside the page does not close at Escape by itself.
  #onKeyDown = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Escape" || event.defaultPrevented) return;
    event.preventDefault();
    this.hide();
  };

  #draw() {
    const { open } = this.#dialog;
    const label = this.#language.text(open ? "close" : "open");
    this.#launcher.ariaExpanded = String(open);
    this.#launcher.ariaLabel = this.#launcher.title = label;
    this.#launcher.replaceChildren(icon(open ? "close" : "chat"));
  }
}
