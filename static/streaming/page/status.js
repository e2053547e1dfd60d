/** How things stand, in one word for the eye and one sentence for the ear. */

import { byId } from "./dom.js";

/**
 * Of a run, or of the page when there was none.
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
/** While these last, the run itself shows how the server stands. */
const UNDER_WAY = new Set(["loading", "connecting", "streaming", "paused", "reconnecting"]);

/** Long enough to be picked up, short enough not to be met while reading the page. */
const ANNOUNCEMENT_MS = 5000;

export class Status {
  #element = byId("status");
  #retry = byId("retry");
  #announcement = byId("announcement");
  #forgetting = 0;
  #counting = 0;
  /** @type {State} */
  #state = "ready";
  #label = LABELS.ready;
  /** @type {ServerState} */
  #server = "ready";

  /** @param {() => void} retry what "Retry now" does */
  constructor(retry) {
    this.#retry.addEventListener("click", retry);
  }

  /** @returns {State | ServerState} */
  get shown() {
    return this.#server === "ready" || this.underWay ? this.#state : this.#server;
  }

  /**
   * @param {State} state
   * @param {string} [label] a better word than the state's own
   */
  show(state, label = LABELS[state]) {
    clearInterval(this.#counting);
    this.#state = state;
    this.#label = label;
    this.#draw();
  }

  /**
   * The connection is lost, or the server wants to be asked again.
   *
   * @param {number} [retryAt] when it is tried again, in ms since the epoch; now when left out
   * @param {AgentError} [error] why
   */
  reconnecting(retryAt, error) {
    if (!retryAt) return this.show("reconnecting");
    const what = error?.status === 429 ? "The server is busy: trying again" : "Reconnecting";
    const count = () => {
      const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
      this.#label = `${what} in ${seconds} s`;
      this.#draw();
    };
    this.show("reconnecting");
    count();
    this.#counting = setInterval(count, 1000);
  }

  /** Whether there is something to wait for. */
  get underWay() {
    return UNDER_WAY.has(this.#state);
  }

  get server() {
    return this.#server;
  }

  /** How the server stands, which matters while no run is under way. */
  set server(/** @type {ServerState} */ state) {
    if (state === this.#server) return;
    this.#server = state;
    this.#draw();
    if (state === this.shown) this.announce(`${SERVER_LABELS[state]}.`);
  }

  /**
   * Have a screen reader say it. Only beginnings and ends are worth the interruption.
   *
   * @param {string} text
   */
  announce(text) {
    clearTimeout(this.#forgetting);
    this.#announcement.textContent = text;
    const forget = () => (this.#announcement.textContent = "");
    this.#forgetting = setTimeout(forget, ANNOUNCEMENT_MS);
  }

  #draw() {
    const { shown } = this;
    const own = shown === this.#state;
    this.#element.dataset.state = shown;
    this.#element.textContent = own ? this.#label : SERVER_LABELS[this.#server];
    const waits = shown === "offline" || this.#label.endsWith(" s");
    // Whoever just pressed it keeps it under the finger until there is an outcome.
    this.#retry.hidden = !waits && !(shown === "reconnecting" && !this.#retry.hidden);
  }
}
