/** A run's events as one continuous stream over any number of connections. */

/** @import { AgentEvent, RunState, StreamOptions, StreamState, Target } from "./agent-types.js" */
/** @import { ServerSentEvent } from "./sse.js" */

import { Connection, Waits, delayMs } from "./agent-connection.js";
import { AgentError, AgentHttp, cancelRun, runPath, unexpectedResponse } from "./agent-http.js";
import { HIDDEN_MS, PageVisibility } from "./page-visibility.js";

const SILENCE_MS = 45_000;
/** Default until the server sends `retry:`. */
const RETRY_MS = 1000;

/**
 * The events of a run: `for await (const event of stream)`.
 *
 * The stream begins immediately, resumes after lost connections, and ends after `done`.
 * Leaving the loop only closes the connection: the run continues until it is cancelled,
 * and can be followed again.
 *
 * @implements {AsyncIterable<AgentEvent>}
 */
export class AgentStream {
  #http;
  #target;
  #options;
  /** @type {StreamState} */
  #state = "connecting";
  #runId = "";
  #orgId;
  #conversationId;
  #lastNumber;
  /** @type {{number: number, content: string}[]} The text by the events that brought it. */
  #contents = [];
  /** The id that the next event inherits if it has none of its own. */
  #inheritedId = "";
  #attempt = 0;
  /** @type {number | undefined} */
  #retryAt;
  /** @type {AgentError | undefined} */
  #error;
  #retryMs = RETRY_MS;
  #abandoned = false;
  /** @type {Connection | undefined} */
  #connection;
  /** @type {Promise<RunState | undefined> | undefined} */
  #cancelling;
  /** A request to cancel is being sent, by a connection of its own. */
  #sendingCancel = false;
  #listeners = new AbortController();
  #visibility;
  #waits = new Waits();
  #onRunKnown = () => {};
  /** @type {Promise<void>} */
  #runKnown = new Promise((resolve) => (this.#onRunKnown = resolve));
  #events = this.#follow();
  /** @type {Promise<IteratorResult<AgentEvent, void>> | undefined} */
  #first;

  /**
   * @param {AgentHttp} http
   * @param {Target} target
   * @param {StreamOptions} options
   */
  constructor(http, target, options) {
    this.#http = http;
    this.#target = target;
    this.#options = options;
    this.#orgId = target.orgId ?? "default";
    this.#conversationId = target.request?.conversation_id ?? "";
    this.#lastNumber = target.after ?? 0;
    if (target.runId) this.#setRunId(target.runId);
    this.#visibility = new PageVisibility(
      options.hiddenMs ?? HIDDEN_MS,
      this.#listeners.signal,
      { disconnect: () => this.#disconnectHidden(), reconnect: () => this.#reconnectHidden() },
    );
    this.#addListeners();
    this.#notify();
    // Connect now instead of at the first read.
    this.#first = this.#events.next();
    this.#first.catch(() => {}); // the first read throws it
  }

  get state() {
    return this.#state;
  }

  /** "" until the server has sent it. */
  get runId() {
    return this.#runId;
  }

  get orgId() {
    return this.#orgId;
  }

  /** "" until the server has sent it. */
  get conversationId() {
    return this.#conversationId;
  }

  /** The id of the last event that the loop received, to resume after it; "" before the first. */
  get lastEventId() {
    return this.#lastNumber ? `${this.#runId}:${this.#lastNumber}` : "";
  }

  /** The text that was received so far, without what `restarted` made void. */
  get text() {
    return this.#contents.map(({ content }) => content).join("");
  }

  /** @returns {AsyncIterator<AgentEvent, void, undefined>} */
  [Symbol.asyncIterator]() {
    return {
      next: () => {
        const next = this.#first ?? this.#events.next();
        this.#first = undefined;
        return next;
      },
      return: () => {
        this.#abandon();
        return this.#events.return();
      },
    };
  }

  /** Close the connection; the run continues. */
  pause() {
    if (this.#state === "ended" || this.#state === "paused") return;
    this.#setState("paused");
    this.#interrupt();
  }

  /** Reconnect and continue after the last received event. */
  resume() {
    if (this.#state !== "paused") return;
    this.#attempt = 0;
    this.#setState(this.#visibility.suspended ? "hidden" : "connecting");
    this.#waits.end();
  }

  /** End the current wait and reconnect now. */
  retryNow() {
    this.#waits.end();
  }

  /**
   * Cancel the run at the server, as soon as its id is known. The stream then ends with
   * `complete` and `done`, even if it was paused or the page is hidden.
   *
   * @returns {Promise<RunState | undefined>} the run, or undefined if none was started
   * @throws {AgentError} if the server rejects the request
   */
  cancel() {
    this.#cancelling ??= this.#cancel().finally(() => (this.#cancelling = undefined));
    return this.#cancelling;
  }

  async #cancel() {
    if (!this.#runId) this.resume(); // the run's id comes with the server's response
    await this.#runKnown;
    if (!this.#runId) return undefined;
    // Disconnect first: six streams occupy all connections that a browser opens to a server
    // over HTTP/1.1, and the request would wait for the end of one of them.
    this.#sendingCancel = true;
    if (this.#state !== "ended") this.#setState("connecting");
    this.#interrupt();
    try {
      return await this.#requestCancel(this.#runId);
    } finally {
      this.#sendingCancel = false;
      this.#visibility.suspended = false;
      this.resume();
      this.#waits.end();
    }
  }

  /** @param {string} runId */
  async #requestCancel(runId) {
    for (let attempt = 1; ; attempt++) {
      try {
        return await cancelRun(this.#http, runId, this.#orgId);
      } catch (/** @type {any} */ error) {
        if (!error.retryable || this.#state === "ended") throw error;
        await this.#waits.wait(delayMs(attempt, this.#retryMs, error.retryAfter));
      }
    }
  }

  /** True while the stream must not connect. */
  get #isHeld() {
    return this.#state === "paused" || this.#sendingCancel || this.#visibility.suspended;
  }

  /** @returns {AsyncGenerator<AgentEvent, void, undefined>} */
  async *#follow() {
    try {
      for (;;) {
        while (this.#isHeld && !this.#abandoned) await this.#waits.wait();
        if (this.#abandoned) break;
        const connection = new Connection(this.#options.silenceMs ?? SILENCE_MS);
        this.#connection = connection;
        try {
          const response = await connection.open((signal) => this.#request(signal));
          if (response.status === 204) return;
          this.#setRunId(response.headers.get("X-Run-Id"));
          this.#visibility.connected();
          for (;;) {
            for (const sent of await connection.read()) {
              if (connection.closed) break;
              const event = this.#accept(sent);
              if (event) yield event;
              if (this.#state === "ended") return;
            }
            if (connection.established) this.#attempt = 0;
          }
        } catch (error) {
          if (!connection.closed) await this.#recover(error);
        }
      }
      this.#options.signal?.throwIfAborted();
    } finally {
      this.#end();
    }
  }

  /** @param {AbortSignal} signal */
  #request(signal) {
    const { request, idempotencyKey = "", events } = this.#target;
    /** @type {Record<string, string>} */
    const headers = { Accept: "text/event-stream" };
    this.#inheritedId = "";
    if (!this.#runId) {
      headers["Idempotency-Key"] = idempotencyKey;
      return this.#http.send("stream", { method: "POST", body: request, headers, signal });
    }
    if (this.lastEventId) headers["Last-Event-ID"] = this.lastEventId;
    const query = { org_id: this.#orgId, events: events?.join(",") };
    return this.#http.send(`${runPath(this.#runId)}/events`, { query, headers, signal });
  }

  /**
   * Return the event, unless it was received before.
   *
   * @param {ServerSentEvent} sent
   * @returns {AgentEvent | undefined}
   */
  #accept({ event: type, data: text, id }) {
    // In SSE an event without an id inherits the id of the previous event.
    const ownId = id === this.#inheritedId ? "" : id;
    this.#inheritedId = id;
    const number = Number(ownId.slice(ownId.lastIndexOf(":") + 1));
    if (number && number <= this.#lastNumber) return undefined;
    if (number) {
      this.#lastNumber = number;
      this.#attempt = 0;
    }
    const event = /** @type {AgentEvent} */ ({ id: ownId, type, data: parse(text) });
    const { type: known, data } = event;
    if (known === "content") this.#contents.push({ number, content: data.content });
    else if (known === "restarted") this.#discardAfter(data.metadata.discard_after);
    else if (known === "connected") this.#onConnected(data.metadata);
    else if (known === "done") this.#finish();
    return event;
  }

  /** @param {import("./agent-types.js").Connection} connected */
  #onConnected({ run_id, org_id, conversation_id }) {
    this.#setRunId(run_id);
    this.#orgId = org_id;
    this.#conversationId = conversation_id;
    this.#retryMs = this.#connection?.retryMs ?? this.#retryMs;
    this.#setState("streaming");
  }

  /** @param {number} last the last number that is not void */
  #discardAfter(last) {
    this.#contents = this.#contents.filter(({ number }) => number <= last);
  }

  /** @param {string | null} id */
  #setRunId(id) {
    if (!id) return;
    this.#runId = id;
    this.#onRunKnown();
  }

  /**
   * Wait before the next attempt, or rethrow the error if no further attempt is allowed.
   *
   * @param {unknown} error
   */
  async #recover(error) {
    this.#connection?.close();
    if (!(error instanceof AgentError)) throw error;
    this.#error = error;
    if (!this.#mayRetry(error)) throw error;
    this.#attempt += 1;
    const ms = delayMs(this.#attempt, this.#retryMs, error.retryAfter);
    this.#setState("reconnecting", Date.now() + ms);
    await this.#waits.wait(ms);
    if (this.#state === "reconnecting") this.#setState("reconnecting");
  }

  /** @param {AgentError} error */
  #mayRetry({ retryable, status }) {
    if (this.#attempt >= (this.#options.maxAttempts ?? Infinity)) return false;
    // An existing run survives server errors; a new run that the server rejected never starts.
    return this.#runId ? retryable || status >= 500 : retryable && status !== 409;
  }

  /** Close the connection and end all waits, so that the loop in `#follow` continues. */
  #interrupt() {
    this.#connection?.close();
    this.#waits.end();
  }

  /** Close the connection of a hidden page. */
  #disconnectHidden() {
    if (this.#state !== "paused") this.#setState("hidden");
    this.#interrupt();
  }

  #reconnectHidden() {
    if (this.#state === "hidden") this.#setState("connecting");
    this.#waits.end();
  }

  #abandon() {
    this.#abandoned = true;
    this.#interrupt();
  }

  /** Finish after the last event, leaving the connection open for reuse. */
  #finish() {
    this.#connection?.finish();
    this.#connection = undefined;
    this.#end();
  }

  #end() {
    if (this.#state === "ended") return;
    this.#connection?.close();
    this.#listeners.abort();
    this.#waits.end();
    this.#onRunKnown();
    this.#setState("ended");
  }

  #addListeners() {
    const { signal } = this.#options;
    const until = { signal: this.#listeners.signal };
    if (signal?.aborted) this.#abandon();
    signal?.addEventListener("abort", () => this.#abandon(), until);
    globalThis.addEventListener?.("online", () => this.#reconnect(), until);
    globalThis.addEventListener?.("offline", () => this.#reconnect(), until);
  }

  /** Reconnect after a network change, which can break a connection without an error. */
  #reconnect() {
    if (this.#isHeld || this.#state === "ended") return;
    this.#setState("reconnecting");
    this.#interrupt();
  }

  /**
   * @param {StreamState} state
   * @param {number} [retryAt]
   */
  #setState(state, retryAt) {
    if (state === "streaming" || state === "connecting") this.#error = undefined;
    this.#state = state;
    this.#retryAt = retryAt;
    this.#notify();
  }

  // Runs in a microtask, so that a listener is never called before `stream()` has returned
  // and its exceptions do not interrupt the stream.
  #notify() {
    const { onState } = this.#options;
    const [attempt, retryAt, error] = [this.#attempt, this.#retryAt, this.#error];
    const status = { state: this.#state, attempt, retryAt, error };
    if (onState) queueMicrotask(() => onState(status));
  }
}

/** @param {string} data */
function parse(data) {
  try {
    return JSON.parse(data);
  } catch (cause) {
    throw unexpectedResponse(200, cause);
  }
}
