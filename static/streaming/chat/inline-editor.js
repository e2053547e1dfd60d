/** A text that is edited in its place. */

import { element, part } from "./dom.js";
import { editorStyles } from "./styles/editor.js";
import { adopt } from "./styles/sheet.js";

/** @import { Language } from "./language.js" */

export class InlineEditor {
  element;
  #before;
  #close;
  #field = element("textarea");

  /**
   * @param {ShadowRoot} root
   * @param {string} text
   * @param {Language} language
   * @param {(text?: string) => void} close called with the new text, or without one
   * @param {{confirm?: string, label?: string}} [texts] of its button and its field
   */
  constructor(root, text, language, close, texts = {}) {
    const { confirm = language.text("save"), label = language.text("question") } = texts;
    adopt(root, editorStyles);
    this.#before = text;
    this.#close = close;
    this.#field.ariaLabel = label;
    this.#field.dir = "auto";
    this.#field.rows = 1;
    this.#field.required = true;
    this.#field.value = text;
    const cancel = part("button", { type: "button", class: "quiet" }, language.text("cancel"));
    const save = part("button", { type: "submit", class: "primary" }, confirm);
    cancel.addEventListener("click", () => close());
    const commands = element("div", "editor-commands", cancel, save);
    this.element = element("form", "editor", this.#field, commands);
    this.element.addEventListener("submit", this.#onSubmit);
    this.#field.addEventListener("keydown", this.#onKeyDown);
  }

  get value() {
    return this.#field.value;
  }

  get isChanged() {
    return this.value !== this.#before && this.value.trim() !== "";
  }

  focus() {
    this.#field.focus();
    this.#field.setSelectionRange(this.value.length, this.value.length);
  }

  #onSubmit = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    if (this.value.trim()) this.#close(this.isChanged ? this.value : undefined);
  };

  #onKeyDown = (/** @type {KeyboardEvent} */ event) => {
    if (event.isComposing) return; // the key belongs to the input method
    if (event.key === "Escape") {
      event.preventDefault(); // the panel around it stays open
      this.#close();
    } else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.element.requestSubmit();
    }
  };
}
