/** Where a person writes, sets up, starts, stops and clears. */

import { byId } from "./dom.js";

/** @typedef {import("./agent-client.js").RunRequest} RunRequest */

/**
 * @typedef {object} Commands
 * @property {(request: RunRequest) => void} start
 * @property {() => void} stop
 * @property {() => void} clear
 */

export class Composer {
  /** @type {HTMLFormElement} */
  #form = byId("composer");
  /** @type {HTMLTextAreaElement} */
  #prompt = byId("prompt");
  #start = byId("start");
  #stop = byId("stop");
  #commands;
  #running = false;

  /** @param {Commands} commands */
  constructor(commands) {
    this.#commands = commands;
    this.#form.addEventListener("submit", this.#onSubmit);
    this.#prompt.addEventListener("keydown", this.#onKeyDown);
    this.#prompt.addEventListener("input", this.#checkPrompt);
    this.#stop.addEventListener("click", () => this.#running && commands.stop());
    byId("clear").addEventListener("click", () => this.#clear());
    byId("examples").addEventListener("click", this.#onExample);
    this.#checkPrompt();
  }

  /** While a run is under way none can be started; buttons keep their focus. */
  set running(/** @type {boolean} */ running) {
    this.#running = running;
    this.#start.ariaDisabled = String(running);
    this.#stop.ariaDisabled = String(!running);
  }

  /** The conversation that the next run goes on with. */
  set conversationId(/** @type {string} */ id) {
    this.#field("conversation_id").value = id;
  }

  /**
   * Give a prompt back that was not taken, unless another is being written.
   *
   * @param {string} prompt
   */
  giveBack(prompt) {
    if (!this.#prompt.value) this.#write(prompt);
  }

  #onSubmit = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    if (this.#running) return;
    const request = this.#request();
    this.#write("");
    this.#commands.start(request);
  };

  #onKeyDown = (/** @type {KeyboardEvent} */ event) => {
    // The Enter that ends a composition belongs to the input method.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!this.#running) this.#form.requestSubmit();
  };

  #onExample = (/** @type {MouseEvent} */ event) => {
    const button = /** @type {Element} */ (event.target).closest("button");
    if (!button) return;
    this.#write(button.textContent ?? "");
    this.#prompt.focus();
  };

  #clear() {
    this.conversationId = "";
    this.#prompt.focus();
    this.#commands.clear();
  }

  /** @returns {RunRequest} */
  #request() {
    const filled = (/** @type {string} */ name) => this.#field(name).value || undefined;
    return {
      input: this.#prompt.value,
      org_id: filled("org_id"),
      conversation_id: filled("conversation_id"),
      max_iterations: Number(filled("max_iterations")) || undefined,
    };
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

  /**
   * @param {string} name
   * @returns {HTMLInputElement}
   */
  #field(name) {
    return /** @type {HTMLInputElement} */ (this.#form.elements.namedItem(name));
  }
}
