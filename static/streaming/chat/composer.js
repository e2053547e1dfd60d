/** The prompt field and the buttons that send, pause, stop and clear. */

import { loadFromTab, saveInTab } from "./browser-storage.js";
import { byId } from "./dom.js";
import { icon } from "./icons.js";

/** @import { Commands } from "./types.js" */
/** @typedef {"idle" | "running" | "paused"} Phase */

export class Composer {
  #root;
  #language;
  #commands;
  /** @type {HTMLFormElement} */
  #form;
  /** @type {HTMLTextAreaElement} */
  #prompt;
  #start;
  #pause;
  #stop;
  /** @type {Phase} */
  #phase = "idle";

  /**
   * @param {ShadowRoot} root
   * @param {import("./language.js").Language} language
   * @param {Commands} commands
   * @param {string} key under which the tab keeps a text that was not sent
   * @param {AbortSignal} signal the end of the component
   */
  constructor(root, language, commands, key, signal) {
    this.#root = root;
    this.#language = language;
    this.#commands = commands;
    this.#form = byId(root, "composer");
    this.#prompt = byId(root, "prompt");
    this.#start = byId(root, "start");
    this.#pause = byId(root, "pause");
    this.#stop = byId(root, "stop");
    this.#form.addEventListener("submit", this.#onSubmit);
    this.#prompt.addEventListener("keydown", this.#onKeyDown);
    this.#prompt.addEventListener("input", this.#onInput);
    this.#pause.addEventListener("click", first(commands.pause));
    this.#stop.addEventListener("click", first(commands.stop));
    byId(root, "clear").addEventListener("click", () => commands.clear());
    byId(root, "examples").addEventListener("click", this.#onExample);
    this.#write(loadFromTab(key));
    addEventListener("pagehide", () => saveInTab(key, this.#prompt.value), { signal });
  }

  /** Show the available buttons. If the focused button is hidden, focus the prompt. */
  set phase(/** @type {Phase} */ phase) {
    this.#phase = phase;
    const idle = phase === "idle";
    const focused = this.#root.activeElement;
    this.#form.parentElement?.setAttribute("data-phase", phase);
    this.#pause.hidden = this.#stop.hidden = idle;
    this.#onInput();
    const label = this.#language.text(idle ? "send" : "enqueue");
    this.#start.querySelector("span")?.replaceChildren(label);
    this.#namePause(phase === "paused" ? "resume" : "pause");
    this.#keepFocus(focused);
  }

  /** Focus the prompt if the focused button was hidden. @param {Element | null} focused */
  #keepFocus(focused) {
    if (focused instanceof HTMLElement && focused.hidden) this.focus();
  }

  focus() {
    this.#prompt.focus();
  }

  /**
   * Put back a prompt that the server did not accept, unless another has been typed.
   *
   * @param {string} prompt
   */
  restorePrompt(prompt) {
    if (!this.#prompt.value) this.#write(prompt);
  }

  /** Add a text that is not sent to what has been typed. @param {string} text */
  add(text) {
    this.#write([this.#prompt.value, text].filter(Boolean).join("\n\n"));
  }

  /** Remove a restored prompt that is sent in another way. @param {string} prompt */
  withdraw(prompt) {
    if (this.#prompt.value === prompt) this.#write("");
  }

  #onSubmit = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    const prompt = this.#prompt.value;
    const focused = this.#root.activeElement;
    this.#write("");
    if (this.#phase === "idle") this.#commands.start(prompt);
    else this.#commands.enqueue(prompt);
    this.#keepFocus(focused);
  };

  #onKeyDown = (/** @type {KeyboardEvent} */ event) => {
    if (event.isComposing) return; // the key belongs to the input method
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      if (this.#phase === "idle" || this.#prompt.value.trim()) this.#form.requestSubmit();
    } else if (event.key === "Escape" && this.#phase !== "idle") {
      event.preventDefault(); // the panel around it stays open
      if (!event.repeat) this.#commands.stop();
    }
  };

  #onExample = (/** @type {MouseEvent} */ event) => {
    const button = /** @type {Element} */ (event.target).closest("button");
    const prompt = button?.querySelector(".example-prompt")?.textContent;
    if (!prompt) return;
    this.#write(prompt);
    this.focus();
  };

  /** @param {"pause" | "resume"} name */
  #namePause(name) {
    const label = this.#language.text(name);
    if (this.#pause.ariaLabel === label) return;
    this.#pause.ariaLabel = label; // on phones only the icon is visible
    this.#pause.querySelector("svg")?.replaceWith(icon(name));
    this.#pause.querySelector("span")?.replaceChildren(label);
  }

  /** @param {string} prompt */
  #write(prompt) {
    this.#prompt.value = prompt;
    this.#onInput();
  }

  #onInput = () => {
    const blank = this.#prompt.value.trim() === "";
    this.#prompt.setCustomValidity(blank ? this.#language.text("blankPrompt") : "");
    this.#start.hidden = blank && this.#phase !== "idle";
  };
}

/**
 * Handle the first click only of a double click: the second click on Send hits Stop, which
 * has taken its place, and a second click on Stop disconnects.
 *
 * @param {() => void} act
 */
function first(act) {
  return (/** @type {MouseEvent} */ { detail }) => {
    if (detail < 2) act();
  };
}
