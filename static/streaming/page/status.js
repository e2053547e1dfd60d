/** The status line, and announcements for screen readers. */

import { byId } from "./dom.js";

/**
 * The state of the run, or of the page before the first run.
 *
 * @typedef {"ready" | "loading" | "connecting" | "streaming" | "paused" | "reconnecting"
 *   | "completed" | "stopped" | "error"} State
 */
/** @typedef {"ready" | "draining" | "unready" | "offline"} ServerState */
/** @typedef {import("../client/agent-client.js").AgentError} AgentError */

/** @type {Record<State, string>} */
const LABELS = {
  ready: "Ready",
  loading: "Loading…",
  connecting: "Connecting…",
  streaming: "Streaming…",
  paused: "Paused",
  reconnecting: "Reconnecting…",
  completed: "Completed",
  stopped: "Stopped",
  error: "Error",
};
/** @type {Record<ServerState, string>} */
const SERVER_LABELS = {
  ready: "Ready",
  draining: "The server is shutting down",
  unready: "The server is not ready",
  offline: "Server offline",
};
/** In these states the run's state is shown instead of the server's. */
const ACTIVE = new Set(["loading", "connecting", "streaming", "paused", "reconnecting"]);

/** Long enough for screen readers to notice, short enough not to be found while reading. */
const ANNOUNCEMENT_MS = 5000;

export class Status {
  #element = byId("status");
  #retry = byId("retry");
  #announcement = byId("announcement");
  #clearTimer = 0;
  #countdown = 0;
  /** @type {State} */
  #state = "ready";
  #label = LABELS.ready;
  /** @type {ServerState} */
  #server = "ready";

  /** @param {() => void} retry called by "Retry now" */
  constructor(retry) {
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
  show(state, label = LABELS[state]) {
    clearInterval(this.#countdown);
    this.#state = state;
    this.#label = label;
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
    const action = error?.status === 429 ? "The server is busy: trying again" : "Reconnecting";
    const count = () => {
      const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
      this.#label = `${action} in ${seconds} s`;
      this.#draw();
    };
    this.show("reconnecting");
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
    if (state === this.shown) this.announce(`${SERVER_LABELS[state]}.`);
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

  #draw() {
    const { shown } = this;
    const own = shown === this.#state;
    this.#element.dataset.state = shown;
    this.#element.textContent = own ? this.#label : SERVER_LABELS[this.#server];
    const waits = shown === "offline" || this.#label.endsWith(" s");
    // Keep the button in place after a click until the attempt has an outcome.
    this.#retry.hidden = !waits && !(shown === "reconnecting" && !this.#retry.hidden);
  }
}
