/** One run as the page holds it: its events, and the ways to end it. */

/** @typedef {import("./agent-client.js").AgentClient} AgentClient */
/** @typedef {import("./agent-client.js").RunRequest} RunRequest */
/** @typedef {import("./agent-client.js").StreamStatus} StreamStatus */

export class Run {
  #connection = new AbortController();
  #stream;
  #stopping = false;

  /**
   * @param {AgentClient} client
   * @param {RunRequest} request
   * @param {(status: StreamStatus) => void} onState
   */
  constructor(client, request, onState) {
    const { signal } = this.#connection;
    this.#stream = client.stream(request, { signal, onState });
  }

  /** The connection was closed from this side. */
  get left() {
    return this.#connection.signal.aborted;
  }

  /** The server has told which run this is. */
  get known() {
    return this.#stream.runId !== "";
  }

  events() {
    return this.#stream;
  }

  /**
   * Have the server stop the run; it then says so in the stream. Where that cannot be,
   * or when asked a second time, leave.
   */
  async stop() {
    if (!this.known || this.#stopping) return this.leave();
    this.#stopping = true;
    await this.#stream.cancel().catch(() => this.leave());
  }

  /** Have the server stop the run, and do not wait for it. */
  discard() {
    this.#stream.cancel().catch(() => {}); // the server gives up a run that nobody follows
    this.leave();
  }

  /** Close the connection. */
  leave() {
    this.#connection.abort();
  }
}
