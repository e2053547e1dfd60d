/** Spans of time in which a run was thinking, running tools and writing text. */

/** @import { AgentEvent } from "../client/agent-client.js" */

/**
 * @typedef {object} Span
 * @property {"thinking" | "tool" | "text"} kind
 * @property {number} number of its first event
 * @property {string} label
 * @property {number} start ms since the run began
 * @property {number} end
 * @property {boolean} open it has not ended
 * @property {boolean} failed
 * @property {boolean} discarded a restart of the run made it void
 */

export class RunSpans {
  /** @type {Span[]} in the order of their start */
  all = [];
  /** Start of the run on the server's clock; NaN before the first event. */
  #start = NaN;
  #last = NaN;
  /** @type {Span | undefined} The span of the model's current output. */
  #current;
  /** @type {Map<string, Span>} */
  #tools = new Map();
  /** Number of the current event; 0 if it has none. */
  #number = 0;

  /** @param {AgentEvent} event */
  receive({ id, type, data }) {
    this.#recordTime(data.timestamp);
    this.#number = Number(id.slice(id.lastIndexOf(":") + 1));
    const at = this.since(data.timestamp);
    if (type === "thinking") this.#extend("thinking", at);
    else if (type === "content") this.#extend("text", at);
    else if (type === "tool_call") this.#callTool(data.tool_call, at);
    else if (type === "tool_result") this.#finishTool(data.tool_call, at);
    else if (type === "restarted") this.#discardAfter(data.metadata.discard_after);
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

  /** Time from the start to the last event, in ms. */
  get length() {
    return this.#last - this.#start || 0;
  }

  /** Time to the first token, in ms, if one was received. */
  get firstToken() {
    return this.all.find(({ kind }) => kind !== "tool")?.start;
  }

  /** Total time of the model's output, in ms. */
  get outputTime() {
    const output = this.all.filter(({ kind }) => kind !== "tool");
    return output.reduce((sum, { start, end }) => sum + end - start, 0);
  }

  /** Close all spans after the last event. */
  close() {
    this.#closeCurrent();
    for (const span of this.all) span.open = false;
  }

  /**
   * Record an event's time. In a replay, the run's first event is older than `connected`.
   *
   * @param {number} timestamp
   */
  #recordTime(timestamp) {
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
  #extend(kind, at) {
    if (this.#current?.kind !== kind) {
      this.#closeCurrent();
      this.#current = this.#add(kind, kind === "text" ? "Text" : "Thinking", at);
    }
    this.#current.end = at;
  }

  #closeCurrent() {
    if (this.#current) this.#current.open = false;
    this.#current = undefined;
  }

  /**
   * @param {{id: string, name: string}} call
   * @param {number} at
   */
  #callTool({ id, name }, at) {
    this.#closeCurrent();
    if (this.#tools.get(id)?.open) return; // a further attempt sends the call again
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

  /** @param {number} number */
  #discardAfter(number) {
    this.#closeCurrent();
    for (const span of this.all) {
      if (span.number <= number) continue;
      span.discarded = true;
      span.open = false;
    }
  }

  /**
   * @param {Span["kind"]} kind
   * @param {string} label
   * @param {number} at
   */
  #add(kind, label, at) {
    const times = { start: at, end: at, open: true };
    const span = { kind, label, number: this.#number, ...times, failed: false, discarded: false };
    this.all.push(span);
    return span;
  }
}
