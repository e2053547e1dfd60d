/** The status line, and announcements for screen readers. */

import { byId } from "./dom.js";

/**
 * The state of the run, or of the component before the first run.
 *
 * @typedef {"ready" | "loading" | "connecting" | "streaming" | "paused" | "reconnecting"
 *   | "completed" | "stopped" | "error"} State
 */
/** @typedef {"ready" | "draining" | "unready" | "offline"} ServerState */
/** @import { AgentError } from "../client/agent-client.js" */
/** @import { Language } from "./language.js" */

/** In these states the run's state is shown instead of the server's. */
const ACTIVE = new Set(["loading", "connecting", "streaming", "paused", "reconnecting"]);

/** Long enough for screen readers to notice, short enough not to be found while reading. */
const ANNOUNCEMENT_MS = 5000;

export class Status {
  #language;
  #element;
  #retry;
  #announcement;
  #clearTimer = 0;
  #countdown = 0;
  /** @type {State} */
  #state = "ready";
  #label;
  #waits = false;
  /** @type {ServerState} */
  #server = "ready";

  /**
   * @param {ShadowRoot} root
   * @param {Language} language
   * @param {() => void} retry called by "Retry now"
   */
  constructor(root, language, retry) {
    this.#language = language;
    this.#element = byId(root, "status");
    this.#retry = byId(root, "retry");
    this.#announcement = byId(root, "announcement");
    this.#label = language.text("ready");
    this.#retry.addEventListener("click", retry);
  }

  /** @returns {State | ServerState} */
  get shown() {
    return this.#server === "ready" || this.isActive ? this.#state : this.#server;
  }

  /**
   * @param {State} state
   * @param {string} [label] shown instead of the state's own label
   */
  show(state, label = this.#language.text(state)) {
    clearInterval(this.#countdown);
    this.#state = state;
    this.#label = label;
    this.#waits = false;
    this.#draw();
  }

  /**
   * Show that the connection is lost, or that the server requested a later retry.
   *
   * @param {number} [retryAt] time of the next attempt, in ms since the epoch; now if omitted
   * @param {AgentError} [error] the reason
   */
  reconnecting(retryAt, error) {
    if (!retryAt) return this.show("reconnecting");
    const key = error?.status === 429 ? "busyIn" : "reconnectingIn";
    const count = () => {
      const time = this.#language.wait(retryAt - Date.now());
      const offline = navigator.onLine === false;
      this.#label = this.#language.text(offline ? "youAreOffline" : key, { time });
      this.#draw();
    };
    this.show("reconnecting");
    this.#waits = true;
    count();
    this.#countdown = setInterval(count, 1000);
  }

  /** True while a run or a load is in progress. */
  get isActive() {
    return ACTIVE.has(this.#state);
  }

  get server() {
    return this.#server;
  }

  /** Set the server's state, which is shown while no run is active. */
  set server(/** @type {ServerState} */ state) {
    if (state === this.#server) return;
    this.#server = state;
    this.#draw();
    if (state === this.shown) this.announce(`${this.#language.text(state)}.`);
  }

  /**
   * Announce a text through screen readers. Used for starts and ends only.
   *
   * @param {string} text
   */
  announce(text) {
    clearTimeout(this.#clearTimer);
    this.#announcement.textContent = text;
    const clear = () => (this.#announcement.textContent = "");
    this.#clearTimer = setTimeout(clear, ANNOUNCEMENT_MS);
  }

  /** Stop the timers. */
  close() {
    clearInterval(this.#countdown);
    clearTimeout(this.#clearTimer);
  }

  #draw() {
    const { shown } = this;
    const own = shown === this.#state;
    this.#element.dataset.state = shown;
    this.#element.textContent = own ? this.#label : this.#language.text(shown);
    const waits = shown === "offline" || (own && this.#waits);
    // Keep the button in place after a click until the attempt has an outcome.
    this.#retry.hidden = !waits && !(shown === "reconnecting" && !this.#retry.hidden);
  }
}
