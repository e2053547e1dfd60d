/** One connection of a stream, and the delay before the next one. */

import { connectionLost, streamingUnsupported, unexpectedResponse } from "./agent-http.js";
import { EventStreamParser } from "./sse.js";

/** Checks of a silent connection within its timeout. */
const CHECKS = 10;
const MIN_RETRY_MS = 100;
/** The longest delay, unless the server asks for a longer one. */
const MAX_RETRY_MS = 30_000;

/** An event stream that is read chunk by chunk until it ends, fails or is closed. */
export class Connection {
  /** Closed by the client. */
  closed = false;
  /** More than the first chunk, which holds `connected`, has arrived. */
  established = false;

  #parser = new EventStreamParser();
  #controller = new AbortController();
  /** @type {ReadableStreamDefaultReader<Uint8Array> | undefined} */
  #reader;
  #chunks = 0;
  #silenceMs;
  #check;
  /** Start of the current wait for the server, in ms; 0 outside of a wait. */
  #waitingSince = 0;

  /** @param {number} silenceMs time without a byte, after which the connection has failed */
  constructor(silenceMs) {
    this.#silenceMs = silenceMs;
    this.#check = setInterval(() => this.#checkSilence(), silenceMs / CHECKS);
  }

  /** The server's `retry:` value, in ms: the delay before the next connection. */
  get retryMs() {
    return this.#parser.retry;
  }

  /**
   * @param {(signal: AbortSignal) => Promise<Response>} send
   * @returns {Promise<Response>} an event stream, or a 204: no events remain
   */
  async open(send) {
    // Checked before the request: without streams, the response comes after the run's end.
    if (!new Response("x").body) throw streamingUnsupported();
    const response = await this.#await(send(this.#controller.signal));
    if (response.status === 204) return response;
    const type = response.headers.get("Content-Type") ?? "";
    if (!type.startsWith("text/event-stream")) throw unexpectedResponse(response.status);
    if (!response.body) throw streamingUnsupported(response);
    this.#reader = response.body.getReader();
    return response;
  }

  /** Return the events that the next chunk completes, often none. */
  async read() {
    if (!this.#reader) throw connectionLost();
    const { value } = await this.#await(this.#reader.read());
    if (!value) throw connectionLost();
    this.established = ++this.#chunks > 1;
    return this.#parser.push(value);
  }

  /** Close the connection and abort any read. */
  close() {
    this.closed = true;
    this.#stop();
  }

  /** Read to the end, so that the browser can reuse the connection for the next request. */
  async finish() {
    await this.read().catch(() => {});
    this.close();
  }

  /**
   * @template T
   * @param {Promise<T>} promise
   */
  async #await(promise) {
    const { signal } = this.#controller;
    this.#waitingSince = Date.now();
    try {
      return await promise;
    } catch (cause) {
      // JavaScript engines throw different errors for an aborted read.
      if (signal.aborted) throw signal.reason;
      throw this.#reader ? connectionLost(cause) : cause;
    } finally {
      this.#waitingSince = 0;
    }
  }

  // Compares the clock at short intervals instead of setting one long timer: timers stop
  // while a laptop sleeps, and connections rarely survive that.
  #checkSilence() {
    if (!this.#waitingSince || Date.now() - this.#waitingSince < this.#silenceMs) return;
    this.#stop(connectionLost());
  }

  /** @param {unknown} [reason] */
  #stop(reason) {
    clearInterval(this.#check);
    this.#controller.abort(reason);
  }
}

/**
 * Return the delay before an attempt, in ms: exponential backoff with jitter, so that
 * clients do not all reconnect at the same moment after an outage.
 *
 * @param {number} attempt counted from 1
 * @param {number} baseMs
 * @param {number} [retryAfter] the server's `Retry-After`, in seconds
 */
export function delayMs(attempt, baseMs, retryAfter = 0) {
  // `onLine` can be wrong: still retry while offline, but rarely.
  const offline = globalThis.navigator?.onLine === false;
  const doubled = Math.max(baseMs, MIN_RETRY_MS) * 2 ** (attempt - 1);
  const longest = offline ? MAX_RETRY_MS : Math.min(doubled, MAX_RETRY_MS);
  const jitter = Math.random();
  const requested = retryAfter && retryAfter * 1000 + baseMs * jitter;
  return Math.max((longest * (1 + jitter)) / 2, requested);
}

/** A set of waits that can be ended early, all at once. */
export class Waits {
  /** @type {Set<() => void>} */
  #ends = new Set();

  /**
   * @param {number} [ms] until `end` is called if omitted
   * @returns {Promise<void>}
   */
  async wait(ms) {
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    await new Promise((/** @type {(value?: unknown) => void} */ resolve) => {
      this.#ends.add(resolve);
      if (ms !== undefined) timer = setTimeout(resolve, ms);
    });
    clearTimeout(timer);
  }

  end() {
    for (const end of this.#ends) end();
    this.#ends.clear();
  }
}
