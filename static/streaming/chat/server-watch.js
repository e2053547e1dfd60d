/** Polls the server's readiness, less often while the page is hidden. */

/** @import { AgentClient } from "../client/agent-client.js" */
/** @import { ServerState } from "./status.js" */

const READY_MS = 15_000;
const HIDDEN_MS = 120_000;
const UNAVAILABLE_MS = 3000;
const TIMEOUT_MS = 10_000;

export class ServerWatch {
  #client;
  #onState;
  #until;
  #timer = 0;

  /**
   * @param {AgentClient} client
   * @param {AbortSignal} until the end of the component
   * @param {(state: ServerState) => void} onState called after each check
   */
  constructor(client, until, onState) {
    this.#client = client;
    this.#onState = onState;
    const listen = { signal: until };
    document.addEventListener("visibilitychange", () => document.hidden || this.check(), listen);
    addEventListener("online", () => this.check(), listen);
    addEventListener("offline", () => this.check(), listen);
    until.addEventListener("abort", () => clearTimeout(this.#timer));
    this.#until = until;
    this.check();
  }

  /** Check now. */
  async check() {
    clearTimeout(this.#timer);
    const state = await this.#readState();
    if (this.#until.aborted) return;
    this.#onState(state);
    clearTimeout(this.#timer); // set by a check that ran meanwhile
    const interval = state === "ready" ? READY_MS : UNAVAILABLE_MS;
    this.#timer = setTimeout(() => this.check(), document.hidden ? HIDDEN_MS : interval);
  }

  /** @returns {Promise<ServerState>} */
  async #readState() {
    try {
      const signal = AbortSignal.timeout(TIMEOUT_MS);
      const { status, checks } = await this.#client.ready({ signal });
      if (status === "ready") return "ready";
      return checks.draining === "yes" ? "draining" : "unready";
    } catch {
      return "offline";
    }
  }
}
