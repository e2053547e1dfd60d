/** One run as the page holds it: its events, and the ways to end it. */

/** @typedef {import("./agent-client.js").AgentClient} AgentClient */
/** @typedef {import("./agent-client.js").RunRequest} RunRequest */

export class Run {
  #client;
  #request;
  #connection = new AbortController();
  /** @type {{run_id: string, org_id: string} | undefined} */
  #identity;
  #stopping = false;

  /**
   * @param {AgentClient} client
   * @param {RunRequest} request
   */
  constructor(client, request) {
    this.#client = client;
    this.#request = request;
  }

  /** The connection was closed from this side. */
  get left() {
    return this.#connection.signal.aborted;
  }

  /** The server has told which run this is. */
  get known() {
    return this.#identity !== undefined;
  }

  async *events() {
    for await (const event of this.#client.stream(this.#request, this.#connection)) {
      if (event.type === "connected") this.#identity = event.data.metadata;
      yield event;
    }
  }

  /**
   * Have the server stop the run; it then says so in the stream. Where that cannot be,
   * or when asked a second time, leave.
   */
  async stop() {
    if (!this.#identity || this.#stopping) return this.leave();
    this.#stopping = true;
    await this.#cancel().catch(() => this.leave());
  }

  /** Have the server stop the run, and do not wait for it. */
  discard() {
    this.#cancel().catch(() => {}); // the server gives up a run that nobody follows
    this.leave();
  }

  /** Close the connection. */
  leave() {
    this.#connection.abort();
  }

  async #cancel() {
    if (!this.#identity) return;
    await this.#client.cancel(this.#identity.run_id, this.#identity.org_id);
  }
}
