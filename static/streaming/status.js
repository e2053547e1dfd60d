/** How the run stands, in one word for the eye and one sentence for the ear. */

/** @typedef {"ready" | "connecting" | "streaming" | "reconnecting" | "completed" | "stopped" | "error"} State */

/** @type {Record<State, string>} */
const LABELS = {
  ready: "Ready",
  connecting: "Connecting…",
  streaming: "Streaming…",
  reconnecting: "Reconnecting…",
  completed: "Completed",
  stopped: "Stopped",
  error: "Error",
};

/** Long enough to be picked up, short enough not to be met while reading the page. */
const ANNOUNCEMENT_MS = 5000;

export class Status {
  #element;
  #announcement;
  #timer = 0;

  /**
   * @param {HTMLElement} element
   * @param {HTMLElement} announcement a live region
   */
  constructor(element, announcement) {
    this.#element = element;
    this.#announcement = announcement;
  }

  /**
   * @param {State} state
   * @param {string} [label] a better word than the state's own
   */
  show(state, label = LABELS[state]) {
    this.#element.dataset.state = state;
    this.#element.textContent = label;
  }

  /**
   * Have a screen reader say it. Only beginnings and ends are worth the interruption.
   *
   * @param {string} text
   */
  announce(text) {
    clearTimeout(this.#timer);
    this.#announcement.textContent = text;
    const forget = () => (this.#announcement.textContent = "");
    this.#timer = setTimeout(forget, ANNOUNCEMENT_MS);
  }
}
