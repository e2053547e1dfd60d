/** Asks the server now and then how it stands: calmly, and less when nobody looks. */

/** @typedef {import("../client/agent-client.js").AgentClient} AgentClient */
/** @typedef {import("./status.js").ServerState} ServerState */

const CALM_MS = 15_000;
const HIDDEN_MS = 120_000;
const TROUBLED_MS = 3000;
const PATIENCE_MS = 10_000;

export class ServerWatch {
  #client;
  #tell;
  #timer = 0;

  /**
   * @param {AgentClient} client
   * @param {(state: ServerState) => void} tell after each time it was asked
   */
  constructor(client, tell) {
    this.#client = client;
    this.#tell = tell;
    document.addEventListener("visibilitychange", () => document.hidden || this.check());
    for (const change of ["online", "offline"]) addEventListener(change, () => this.check());
    this.check();
  }

  /** Ask now. */
  async check() {
    clearTimeout(this.#timer);
    const state = await this.#ask();
    this.#tell(state);
    clearTimeout(this.#timer); // of another that was asked for meanwhile
    const calm = state === "ready" ? CALM_MS : TROUBLED_MS;
    this.#timer = setTimeout(() => this.check(), document.hidden ? HIDDEN_MS : calm);
  }

  /** @returns {Promise<ServerState>} */
  async #ask() {
    try {
      const signal = AbortSignal.timeout(PATIENCE_MS);
      const { status, checks } = await this.#client.ready({ signal });
      if (status === "ready") return "ready";
      return checks.draining === "yes" ? "draining" : "unready";
    } catch {
      return "offline";
    }
  }
}
