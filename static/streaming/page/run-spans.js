/** What a run did and when: its thinking, tools and text as spans of time. */

/** @typedef {import("../client/agent-client.js").AgentEvent} AgentEvent */

/**
 * @typedef {object} Span
 * @property {"thinking" | "tool" | "text"} kind
 * @property {string} label
 * @property {number} start ms since the run began
 * @property {number} end
 * @property {boolean} open it goes on
 * @property {boolean} failed
 */

export class RunSpans {
  /** @type {Span[]} in the order they began */
  all = [];
  /** When the run began, by the server's clock; NaN before anything came. */
  #start = NaN;
  #last = NaN;
  /** @type {Span | undefined} What the model is saying. */
  #said;
  /** @type {Map<string, Span>} */
  #tools = new Map();

  /** @param {AgentEvent} event */
  receive({ type, data }) {
    this.#hear(data.timestamp);
    const at = this.since(data.timestamp);
    if (type === "thinking") this.#say("thinking", at);
    else if (type === "content") this.#say("text", at);
    else if (type === "tool_call") this.#callTool(data.tool_call, at);
    else if (type === "tool_result") this.#finishTool(data.tool_call, at);
    else if (type === "complete") this.#complete(data);
    if (type === "complete" || type === "error") this.close();
  }

  /**
   * @param {number} timestamp
   * @returns {number} ms since the run began
   */
  since(timestamp) {
    return timestamp - this.#start;
  }

  /** ms from the beginning to the last event. */
  get length() {
    return this.#last - this.#start || 0;
  }

  /** ms to the first word, if it came. */
  get firstToken() {
    return this.all.find(({ kind }) => kind !== "tool")?.start;
  }

  /** ms in which the model spoke. */
  get speaking() {
    const said = this.all.filter(({ kind }) => kind !== "tool");
    return said.reduce((sum, { start, end }) => sum + end - start, 0);
  }

  /** Nothing more will come. */
  close() {
    this.#stopSaying();
    for (const span of this.all) span.open = false;
  }

  /**
   * The first event of a run that is read again is older than the connection's own.
   *
   * @param {number} timestamp
   */
  #hear(timestamp) {
    if (!(timestamp >= this.#start)) this.#begin(timestamp);
    this.#last = this.all.length ? Math.max(this.#last, timestamp) : timestamp;
  }

  /** @param {number} timestamp */
  #begin(timestamp) {
    const earlier = this.#start - timestamp || 0;
    for (const span of this.all) {
      span.start += earlier;
      span.end += earlier;
    }
    this.#start = timestamp;
  }

  /** @param {import("../client/agent-types.js").CompleteEvent["data"]} data */
  #complete({ timestamp, metadata }) {
    const took = metadata.execution_summary.execution_time_ms;
    if (took && timestamp - took < this.#start) this.#begin(timestamp - took);
  }

  /**
   * @param {"thinking" | "text"} kind
   * @param {number} at
   */
  #say(kind, at) {
    if (this.#said?.kind !== kind) {
      this.#stopSaying();
      this.#said = this.#add(kind, kind === "text" ? "Text" : "Thinking", at);
    }
    this.#said.end = at;
  }

  #stopSaying() {
    if (this.#said) this.#said.open = false;
    this.#said = undefined;
  }

  /**
   * @param {{id: string, name: string}} call
   * @param {number} at
   */
  #callTool({ id, name }, at) {
    this.#stopSaying();
    this.#tools.set(id, this.#add("tool", name, at));
  }

  /**
   * @param {{id: string, status: string}} call
   * @param {number} at
   */
  #finishTool({ id, status }, at) {
    const span = this.#tools.get(id);
    if (!span) return;
    span.end = at;
    span.open = false;
    span.failed = status === "error";
  }

  /**
   * @param {Span["kind"]} kind
   * @param {string} label
   * @param {number} at
   */
  #add(kind, label, at) {
    const span = { kind, label, start: at, end: at, open: true, failed: false };
    this.all.push(span);
    return span;
  }
}
