/** One connection of a stream, and how long to wait for the next. */

import { connectionLost, unexpectedAnswer } from "./agent-http.js";
import { EventStreamParser } from "./sse.js";

/** How often a connection is checked while it is silent. */
const CHECKS = 10;
const MIN_RETRY_MS = 100;
/** No wait is longer, unless the server asks for it. */
const MAX_RETRY_MS = 30_000;

/** An event stream that is read piece by piece, until it ends, dies or is closed. */
export class Connection {
  /** It was closed from this side. */
  closed = false;
  /** More came than a greeting. */
  proven = false;

  #parser = new EventStreamParser();
  #controller = new AbortController();
  /** @type {ReadableStreamDefaultReader<Uint8Array> | undefined} */
  #reader;
  #pieces = 0;
  #silenceMs;
  #check;
  /** Since when something is waited for; 0 while nobody listens. */
  #since = 0;

  /** @param {number} silenceMs without a byte, after which it counts as dead */
  constructor(silenceMs) {
    this.#silenceMs = silenceMs;
    this.#check = setInterval(() => this.#checkSilence(), silenceMs / CHECKS);
  }

  /** What the server asked to wait before a next connection. */
  get retryMs() {
    return this.#parser.retry;
  }

  /**
   * @param {(signal: AbortSignal) => Promise<Response>} send
   * @returns {Promise<Response>} an event stream, or a 204: there is nothing to read
   */
  async open(send) {
    const response = await this.#awaited(send(this.#controller.signal));
    if (response.status === 204) return response;
    const type = response.headers.get("Content-Type") ?? "";
    if (!type.startsWith("text/event-stream")) throw unexpectedAnswer(response.status);
    if (!response.body) throw connectionLost();
    this.#reader = response.body.getReader();
    return response;
  }

  /** The events that the next piece completes, often none. */
  async read() {
    if (!this.#reader) throw connectionLost();
    const { value } = await this.#awaited(this.#reader.read());
    if (!value) throw connectionLost();
    this.proven = ++this.#pieces > 1;
    return this.#parser.push(value);
  }

  /** Close it, whatever is under way. */
  close() {
    this.closed = true;
    this.#stop();
  }

  /** Let it end by itself, so that the browser can use it for the next request. */
  async finish() {
    await this.read().catch(() => {});
    this.close();
  }

  /**
   * @template T
   * @param {Promise<T>} coming
   */
  async #awaited(coming) {
    const { signal } = this.#controller;
    this.#since = Date.now();
    try {
      return await coming;
    } catch (cause) {
      // Engines do not agree on what an aborted read throws.
      if (signal.aborted) throw signal.reason;
      throw this.#reader ? connectionLost(cause) : cause;
    } finally {
      this.#since = 0;
    }
  }

  // A clock that is looked at often, and not one long timer: timers stand still while a
  // laptop sleeps, which a connection rarely survives.
  #checkSilence() {
    if (!this.#since || Date.now() - this.#since < this.#silenceMs) return;
    this.#stop(connectionLost());
  }

  /** @param {unknown} [reason] */
  #stop(reason) {
    clearInterval(this.#check);
    this.#controller.abort(reason);
  }
}

/**
 * Milliseconds to wait before a try: twice as long each time, and by chance shorter, so
 * that not all clients come back at once to a server that was away.
 *
 * @param {number} attempt the first is 1
 * @param {number} baseMs
 * @param {number} [retryAfter] seconds that the server asked for
 */
export function delayMs(attempt, baseMs, retryAfter = 0) {
  // A browser that says it is offline may be wrong: look, but rarely.
  const offline = globalThis.navigator?.onLine === false;
  const doubled = Math.max(baseMs, MIN_RETRY_MS) * 2 ** (attempt - 1);
  const longest = offline ? MAX_RETRY_MS : Math.min(doubled, MAX_RETRY_MS);
  const chance = Math.random();
  const asked = retryAfter && retryAfter * 1000 + baseMs * chance;
  return Math.max((longest * (1 + chance)) / 2, asked);
}

/** Waits that can be ended early, all at once. */
export class Waits {
  /** @type {Set<() => void>} */
  #ends = new Set();

  /**
   * @param {number} [ms] until `end` when left out
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
