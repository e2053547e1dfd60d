/** The prompt field and the buttons that start, pause, stop and clear. */

import { byId } from "./dom.js";
import { icon } from "./icons.js";

/**
 * @typedef {object} Commands
 * @property {(prompt: string) => void} start
 * @property {() => void} pause pauses or resumes
 * @property {() => void} stop
 * @property {() => void} clear
 */

/** @typedef {"idle" | "running" | "paused"} Phase */

export class Composer {
  /** @type {HTMLFormElement} */
  #form = byId("composer");
  /** @type {HTMLTextAreaElement} */
  #prompt = byId("prompt");
  #start = byId("start");
  #pause = byId("pause");
  #stop = byId("stop");
  #commands;
  /** @type {Phase} */
  #phase = "idle";

  /** @param {Commands} commands */
  constructor(commands) {
    this.#commands = commands;
    this.#form.addEventListener("submit", this.#onSubmit);
    this.#prompt.addEventListener("keydown", this.#onKeyDown);
    this.#prompt.addEventListener("input", this.#checkPrompt);
    this.#pause.addEventListener("click", () => commands.pause());
    this.#stop.addEventListener("click", () => commands.stop());
    byId("clear").addEventListener("click", () => commands.clear());
    byId("examples").addEventListener("click", this.#onExample);
    this.#checkPrompt();
  }

  /** Show the available buttons. If the focused button is hidden, focus the prompt. */
  set phase(/** @type {Phase} */ phase) {
    this.#phase = phase;
    const idle = phase === "idle";
    const focused = document.activeElement;
    this.#start.hidden = !idle;
    this.#pause.hidden = this.#stop.hidden = idle;
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
    const label = name === "pause" ? "Pause" : "Resume";
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
    this.#prompt.setCustomValidity(blank ? "Write a prompt first." : "");
  };
}
