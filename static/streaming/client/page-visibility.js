/** The connection of a stream in a hidden page: closed, except for short intervals. */

/** Time that a hidden page keeps its connection, unless the program sets another. */
export const HIDDEN_MS = 5000;
/** Duration of a connection of a hidden page: enough for the events since the last one. */
const CONNECTED_MS = 1000;
/** Time between two of these; a run without readers is cancelled after 60 s by default. */
const DISCONNECTED_MS = 20_000;

/**
 * Closes the connection of a page that was hidden for a while, since a browser opens only
 * six connections to a server over HTTP/1.1, for all its tabs together. Until the page is
 * shown, it connects for a second every 20 s: the stream receives the new events, and the
 * run has a reader.
 */
export class PageVisibility {
  /** True while the connection is closed. */
  suspended = false;

  #hiddenMs;
  #disconnect;
  #reconnect;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** Start of the time that the page is hidden, in ms; 0 while it is visible. */
  #hiddenSince = 0;
  #wasSuspended = false;

  /**
   * Without a document, as in Node.js and workers, nothing is hidden.
   *
   * @param {number} hiddenMs time that a hidden page keeps its connection
   * @param {AbortSignal} until the end of the stream
   * @param {object} actions
   * @param {() => void} actions.disconnect close the connection
   * @param {() => void} actions.reconnect connect again
   */
  constructor(hiddenMs, until, actions) {
    this.#hiddenMs = hiddenMs;
    this.#disconnect = actions.disconnect;
    this.#reconnect = actions.reconnect;
    const page = globalThis.document;
    if (!page || hiddenMs === Infinity) return;
    const listen = { signal: until };
    page.addEventListener("visibilitychange", () => this.#onVisibilityChange(), listen);
    // Nothing runs in a frozen page, nor in one that the browser keeps for its Back button.
    page.addEventListener("freeze", () => this.#suspend(), listen);
    globalThis.addEventListener("pagehide", () => this.#suspend(), listen);
    globalThis.addEventListener("pageshow", () => this.#onVisibilityChange(), listen);
    until.addEventListener("abort", () => clearTimeout(this.#timer));
    this.#onVisibilityChange();
  }

  /** Handle the connection of the stream: in a hidden page it is closed soon. */
  connected() {
    if (this.#hiddenSince && this.#wasSuspended) this.#suspendAfter(CONNECTED_MS);
  }

  #onVisibilityChange() {
    if (!document.hidden) this.#onShown();
    else if (!this.#hiddenSince) {
      this.#hiddenSince = Date.now();
      this.#suspendAfter(this.#hiddenMs);
    }
  }

  #onShown() {
    clearTimeout(this.#timer);
    // Phones stop the timers of a hidden page: its connection is probably dead.
    const overdue = this.#hiddenSince && Date.now() - this.#hiddenSince > this.#hiddenMs;
    if (overdue && !this.suspended) this.#close();
    this.#hiddenSince = 0;
    this.#wasSuspended = false;
    if (this.suspended) this.#continue();
  }

  /** @param {number} ms */
  #suspendAfter(ms) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#suspend(), ms);
  }

  #suspend() {
    clearTimeout(this.#timer);
    this.#hiddenSince ||= Date.now();
    this.#wasSuspended = true;
    if (!this.suspended) this.#close();
    this.#timer = setTimeout(() => this.#continue(), DISCONNECTED_MS);
  }

  #close() {
    this.suspended = true;
    this.#disconnect();
  }

  #continue() {
    this.suspended = false;
    this.#reconnect();
  }
}
