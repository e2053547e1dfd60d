/** HTTP to the agent's API: URLs, headers, and every failure as an `AgentError`. */

/** @typedef {Record<string, string>} HeaderValues */
/** @typedef {HeaderValues | (() => HeaderValues | Promise<HeaderValues>)} HeadersOption */

/**
 * @typedef {object} FieldError
 * @property {string} field
 * @property {string} message
 */

const RETRYABLE_STATUSES = [408, 425, 429, 502, 503, 504];
/** Asking again helps with these, as soon as the other run has ended. */
const RETRYABLE_CODES = ["conversation_busy"];
/** The provider's lasting refusals, which come as 502 too. */
const FINAL_CODES = ["provider_error", "provider_refused_key"];

/**
 * What the server, or the way to it, answered instead of what was asked for.
 *
 * Its `code` is the server's own, or one of the way: `unreachable` (no answer),
 * `connection_lost` (an answer that broke off), `unexpected_answer` (one that is not
 * from this API).
 */
export class AgentError extends Error {
  name = "AgentError";

  /**
   * @param {string} message a sentence for people
   * @param {object} about
   * @param {string} about.code a word for programs
   * @param {number} [about.status] the HTTP status, 0 when there was no answer
   * @param {FieldError[]} [about.details] the fields at fault
   * @param {string} [about.runId] the run that is in the way
   * @param {boolean} [about.retryable] whether the same request may succeed later
   * @param {number} [about.retryAfter] seconds that the server asks to wait
   * @param {unknown} [about.cause]
   */
  constructor(message, about) {
    super(message, { cause: about.cause });
    this.code = about.code;
    this.status = about.status ?? 0;
    this.details = about.details ?? [];
    this.runId = about.runId ?? "";
    this.retryable = about.retryable ?? false;
    this.retryAfter = about.retryAfter;
  }
}

/** @param {unknown} [cause] */
export function connectionLost(cause) {
  const message = "The connection broke before the answer ended.";
  return new AgentError(message, { code: "connection_lost", retryable: true, cause });
}

/**
 * @param {number} status
 * @param {unknown} [cause]
 */
export function unexpectedAnswer(status, cause) {
  const message = "What answered does not speak this API.";
  return new AgentError(message, { code: "unexpected_answer", status, cause });
}

/** The way to one server. */
export class AgentHttp {
  #base;
  #headers;

  /**
   * @param {string | URL} baseUrl
   * @param {HeadersOption} headers
   */
  constructor(baseUrl, headers) {
    const page = globalThis.document?.baseURI ?? globalThis.location?.href;
    this.#base = new URL(baseUrl, page);
    if (!this.#base.pathname.endsWith("/")) this.#base.pathname += "/";
    this.#headers = headers;
  }

  /**
   * A JSON answer.
   *
   * @param {string} path
   * @param {RequestOptions} [options]
   * @returns {Promise<any>}
   */
  async json(path, options) {
    const response = await this.send(path, options);
    const text = await response.text().catch((cause) => {
      throw options?.signal?.aborted ? cause : connectionLost(cause);
    });
    try {
      return JSON.parse(text);
    } catch (cause) {
      throw unexpectedAnswer(response.status, cause);
    }
  }

  /**
   * Any answer that is no error.
   *
   * @typedef {object} RequestOptions
   * @property {string} [method]
   * @property {Record<string, string | number | undefined>} [query]
   * @property {unknown} [body] sent as JSON
   * @property {HeaderValues} [headers]
   * @property {AbortSignal} [signal]
   * @property {boolean} [keepalive] outlive the page
   * @property {number[]} [allow] statuses that are no errors here
   *
   * @param {string} path
   * @param {RequestOptions} [options]
   */
  async send(path, options = {}) {
    const { query = {}, body, allow = [], headers = {}, ...rest } = options;
    const url = new URL(path, this.#base);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined && value !== "") url.searchParams.set(name, String(value));
    }
    const response = await this.#fetch(url, { cache: "no-store", ...rest, headers }, body);
    if (response.ok || allow.includes(response.status)) return response;
    throw await errorOf(response);
  }

  /**
   * @param {URL} url
   * @param {RequestInit & {headers: HeaderValues}} init
   * @param {unknown} body
   */
  async #fetch(url, init, body) {
    const own = typeof this.#headers === "function" ? reach(this.#headers) : this.#headers;
    const headers = { ...(await own), ...init.headers };
    if (body !== undefined) {
      headers["Content-Type"] = "application/json";
      init.body = JSON.stringify(body);
    }
    // A header that cannot be sent is a mistake that is told here, not a lost network.
    const request = new Request(url, { ...init, headers });
    return reach(() => fetch(request));
  }
}

/**
 * What came of asking over the network.
 *
 * @template T
 * @param {() => T | Promise<T>} ask
 */
async function reach(ask) {
  try {
    return await ask();
  } catch (cause) {
    // This is what `fetch` throws when the network fails.
    if (!(cause instanceof TypeError)) throw cause;
    const message = "The server cannot be reached.";
    throw new AgentError(message, { code: "unreachable", retryable: true, cause });
  }
}

/** @param {Response} response */
async function errorOf(response) {
  const { status, statusText, headers } = response;
  const body = await response.json().catch(() => undefined);
  const known = typeof body?.error === "string" && typeof body.code === "string";
  const code = known ? body.code : "unexpected_answer";
  const message = known ? body.error : `The server answered ${status} ${statusText}`.trim() + ".";
  const retryable = RETRYABLE_STATUSES.includes(status) || RETRYABLE_CODES.includes(code);
  return new AgentError(message, {
    code,
    status,
    details: body?.details,
    runId: body?.run_id,
    retryable: retryable && !FINAL_CODES.includes(code),
    retryAfter: secondsOf(headers.get("Retry-After")),
  });
}

/**
 * `Retry-After` is a number of seconds or a date.
 *
 * @param {string | null} value
 */
function secondsOf(value) {
  if (!value) return undefined;
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Number.isNaN(seconds) ? undefined : Math.max(0, seconds);
}

/** @param {string} runId */
export function runPath(runId) {
  return `runs/${encodeURIComponent(runId)}`;
}

/**
 * Stop a run for good.
 *
 * @param {AgentHttp} http
 * @param {string} runId
 * @param {string} [orgId]
 * @returns {Promise<import("./agent-types.js").RunState>}
 */
export function cancelRun(http, runId, orgId) {
  const options = { method: "POST", query: { org_id: orgId }, keepalive: true };
  return http.json(`${runPath(runId)}/cancel`, options);
}
