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
  #stillWriting;
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
    this.#stillWriting = byId(root, "still-writing");
    this.#form.addEventListener("submit", this.#onSubmit);
    this.#prompt.addEventListener("keydown", this.#onKeyDown);
    this.#prompt.addEventListener("input", this.#checkPrompt);
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
    this.#start.hidden = !idle;
    this.#pause.hidden = this.#stop.hidden = idle;
    if (idle) this.#showStillWriting(false);
    this.#namePause(phase === "paused" ? "resume" : "pause");
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

  /** Remove a restored prompt that is sent in another way. @param {string} prompt */
  withdraw(prompt) {
    if (this.#prompt.value === prompt) this.#write("");
  }

  #onSubmit = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    if (this.#phase !== "idle") return;
    const prompt = this.#prompt.value;
    this.#write("");
    this.#commands.start(prompt);
  };

  #onKeyDown = (/** @type {KeyboardEvent} */ event) => {
    // Enter during a composition belongs to the input method.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (this.#phase === "idle") this.#form.requestSubmit();
    else this.#showStillWriting(true);
  };

  /** Show why Enter sends nothing during a response, with Stop beside it. @param {boolean} shown */
  #showStillWriting(shown) {
    this.#stillWriting.hidden = !shown;
    this.#form.toggleAttribute("data-still-writing", shown);
    if (shown) this.#commands.announce(this.#stillWriting.textContent ?? "");
  }

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
    this.#checkPrompt();
  }

  #checkPrompt = () => {
    const blank = this.#prompt.value.trim() === "";
    this.#prompt.setCustomValidity(blank ? this.#language.text("blankPrompt") : "");
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
