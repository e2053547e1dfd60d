/** A run's events as one unbroken stream, over as many connections as it takes. */

/** @import { AgentEvent, EventType, RunRequest, RunState } from "./agent-types.js" */
/** @import { StreamOptions, StreamState } from "./agent-types.js" */
/** @import { ServerSentEvent } from "./sse.js" */

import { Connection, Waits, delayMs } from "./agent-connection.js";
import { AgentError, AgentHttp, cancelRun, runPath, unexpectedAnswer } from "./agent-http.js";

/**
 * What to follow: a run that `request` starts, or one that is known.
 *
 * @typedef {object} Target
 * @property {RunRequest} [request]
 * @property {string} [idempotencyKey]
 * @property {string} [runId]
 * @property {string} [orgId]
 * @property {number} [after]
 * @property {EventType[]} [events]
 */

const SILENCE_MS = 45_000;
/** Until the server says what it prefers. */
const RETRY_MS = 1000;

/**
 * The events of a run: `for await (const event of stream)`.
 *
 * It begins at once, goes on over lost connections by itself, and ends after `done`.
 * Whoever leaves the loop closes the connection and no more: the run goes on until it
 * is cancelled, and can be followed again.
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
  /** The id that the next event inherits, if it has none of its own. */
  #numberedId = "";
  #attempt = 0;
  /** @type {number | undefined} */
  #retryAt;
  /** @type {AgentError | undefined} */
  #error;
  #retryMs = RETRY_MS;
  #left = false;
  /** @type {Connection | undefined} */
  #connection;
  /** @type {Promise<RunState | undefined> | undefined} */
  #cancelling;
  #stopListening = new AbortController();
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
    if (target.runId) this.#learnRun(target.runId);
    this.#listen();
    this.#tell();
    // Begin now, and not when somebody begins to read.
    this.#first = this.#events.next();
    this.#first.catch(() => {}); // told to the reader
  }

  get state() {
    return this.#state;
  }

  /** "" until the server has told. */
  get runId() {
    return this.#runId;
  }

  get orgId() {
    return this.#orgId;
  }

  /** "" until the server has told. */
  get conversationId() {
    return this.#conversationId;
  }

  /** The id of the last event that was given out: what to resume after; "" before. */
  get lastEventId() {
    return this.#lastNumber ? `${this.#runId}:${this.#lastNumber}` : "";
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
        this.#leave();
        return this.#events.return();
      },
    };
  }

  /** Close the connection; the run goes on. */
  pause() {
    if (this.#state === "ended" || this.#state === "paused") return;
    this.#setState("paused");
    this.#interrupt();
  }

  /** Go on after the last event that was given out: nothing is lost. */
  resume() {
    if (this.#state !== "paused") return;
    this.#attempt = 0;
    this.#setState("connecting");
    this.#waits.end();
  }

  /** Do not wait any longer before the next try. */
  retryNow() {
    this.#waits.end();
  }

  /**
   * Stop the run at the server, as soon as it is known there. The stream then ends with
   * `complete` and `done`, also when it was paused.
   *
   * @returns {Promise<RunState | undefined>} the run, or nothing when none was started
   * @throws {AgentError} when the server refuses
   */
  cancel() {
    this.#cancelling ??= this.#cancel().finally(() => (this.#cancelling = undefined));
    return this.#cancelling;
  }

  async #cancel() {
    if (!this.#runId) this.resume(); // only the server's answer tells which run it is
    await this.#runKnown;
    if (!this.#runId) return undefined;
    for (let attempt = 1; ; attempt++) {
      try {
        const run = await cancelRun(this.#http, this.#runId, this.#orgId);
        this.resume();
        this.#waits.end();
        return run;
      } catch (/** @type {any} */ error) {
        if (!error.retryable || this.#state === "ended") throw error;
        await this.#waits.wait(delayMs(attempt, this.#retryMs, error.retryAfter));
      }
    }
  }

  /** @returns {AsyncGenerator<AgentEvent, void, undefined>} */
  async *#follow() {
    try {
      for (;;) {
        while (this.#state === "paused" && !this.#left) await this.#waits.wait();
        if (this.#left) break;
        const connection = new Connection(this.#options.silenceMs ?? SILENCE_MS);
        this.#connection = connection;
        try {
          const response = await connection.open((signal) => this.#request(signal));
          if (response.status === 204) return;
          this.#learnRun(response.headers.get("X-Run-Id"));
          for (;;) {
            for (const sent of await connection.read()) {
              if (connection.closed) break;
              const event = this.#take(sent);
              if (event) yield event;
              if (this.#state === "ended") return;
            }
            if (connection.proven) this.#attempt = 0;
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
    this.#numberedId = "";
    if (!this.#runId) {
      headers["Idempotency-Key"] = idempotencyKey;
      return this.#http.send("stream", { method: "POST", body: request, headers, signal });
    }
    if (this.lastEventId) headers["Last-Event-ID"] = this.lastEventId;
    const query = { org_id: this.#orgId, events: events?.join(",") };
    return this.#http.send(`${runPath(this.#runId)}/events`, { query, headers, signal });
  }

  /**
   * The event, unless it was given out before.
   *
   * @param {ServerSentEvent} sent
   * @returns {AgentEvent | undefined}
   */
  #take({ event: type, data: text, id }) {
    // In SSE an event without an id of its own has that of the one before.
    const ownId = id === this.#numberedId ? "" : id;
    this.#numberedId = id;
    const number = Number(ownId.slice(ownId.lastIndexOf(":") + 1));
    if (number && number <= this.#lastNumber) return undefined;
    if (number) {
      this.#lastNumber = number;
      this.#attempt = 0;
    }
    const event = /** @type {AgentEvent} */ ({ id: ownId, type, data: parse(text) });
    if (event.type === "connected") this.#greet(event.data.metadata);
    if (event.type === "done") this.#finish();
    return event;
  }

  /** @param {import("./agent-types.js").Connection} connected */
  #greet({ run_id, org_id, conversation_id }) {
    this.#learnRun(run_id);
    this.#orgId = org_id;
    this.#conversationId = conversation_id;
    this.#retryMs = this.#connection?.retryMs ?? this.#retryMs;
    this.#setState("streaming");
  }

  /** @param {string | null} id */
  #learnRun(id) {
    if (!id) return;
    this.#runId = id;
    this.#onRunKnown();
  }

  /**
   * After a failure: wait for the next try, or give up.
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
    // A run goes on whatever ails the server now; one that was refused does not begin.
    return this.#runId ? retryable || status >= 500 : retryable && status !== 409;
  }

  /** End what is under way, a connection or a wait, and see what comes next. */
  #interrupt() {
    this.#connection?.close();
    this.#waits.end();
  }

  #leave() {
    this.#left = true;
    this.#interrupt();
  }

  /** The last event is there: let the connection end by itself. */
  #finish() {
    this.#connection?.finish();
    this.#connection = undefined;
    this.#end();
  }

  #end() {
    if (this.#state === "ended") return;
    this.#connection?.close();
    this.#stopListening.abort();
    this.#waits.end();
    this.#onRunKnown();
    this.#setState("ended");
  }

  #listen() {
    const { signal } = this.#options;
    const until = { signal: this.#stopListening.signal };
    if (signal?.aborted) this.#leave();
    signal?.addEventListener("abort", () => this.#leave(), until);
    globalThis.addEventListener?.("online", () => this.#renew(), until);
    globalThis.addEventListener?.("offline", () => this.#renew(), until);
  }

  /** The network came or went: what was open may be dead without knowing it. */
  #renew() {
    if (this.#state === "paused" || this.#state === "ended") return;
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
    this.#tell();
  }

  // In a microtask, so that a listener never runs before `stream()` has returned, and
  // its mistakes do no harm here.
  #tell() {
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
    throw unexpectedAnswer(200, cause);
  }
}
