/** HTTP requests to the agent's API: URLs, headers, and each failure as an `AgentError`. */

/** @typedef {Record<string, string>} HeaderValues */
/** @typedef {HeaderValues | (() => HeaderValues | Promise<HeaderValues>)} HeadersOption */

/**
 * @typedef {object} FieldError
 * @property {string} field
 * @property {string} message
 */

const RETRYABLE_STATUSES = [408, 425, 429, 502, 503, 504];
/** Retryable once the conversation's active run has ended. */
const RETRYABLE_CODES = ["conversation_busy"];
/** Permanent provider failures, which also have status 502. */
const FINAL_CODES = ["provider_error", "provider_refused_key"];

/**
 * A failed request.
 *
 * Its `code` comes from the server or from the client: `unreachable` (no response),
 * `connection_lost` (the response broke off), `unexpected_answer` (the response is not
 * from this API), `streaming_unsupported` (`fetch` cannot read a response in parts here).
 */
export class AgentError extends Error {
  name = "AgentError";

  /**
   * @param {string} message a sentence to show to users
   * @param {object} properties
   * @param {string} properties.code a code for programs
   * @param {number} [properties.status] the HTTP status, 0 without a response
   * @param {FieldError[]} [properties.details] the invalid fields
   * @param {string} [properties.runId] the run that occupies the conversation
   * @param {boolean} [properties.retryable] true if the same request may succeed later
   * @param {number} [properties.retryAfter] the server's `Retry-After`, in seconds
   * @param {unknown} [properties.cause]
   */
  constructor(message, properties) {
    super(message, { cause: properties.cause });
    this.code = properties.code;
    this.status = properties.status ?? 0;
    this.details = properties.details ?? [];
    this.runId = properties.runId ?? "";
    this.retryable = properties.retryable ?? false;
    this.retryAfter = properties.retryAfter;
  }
}

/** @param {unknown} [cause] */
export function connectionLost(cause) {
  const message = "The connection closed before the response ended.";
  return new AgentError(message, { code: "connection_lost", retryable: true, cause });
}

/**
 * @param {number} status
 * @param {unknown} [cause]
 */
export function unexpectedResponse(status, cause) {
  const message = "The response is not from this API.";
  return new AgentError(message, { code: "unexpected_answer", status, cause });
}

/**
 * The error of a runtime such as React Native, whose responses have no `body`.
 *
 * @param {Response} [response]
 */
export function streamingUnsupported(response) {
  const message =
    "This runtime cannot read a response as a stream: its fetch gives no response.body. " +
    "Use client.run(), or a fetch that streams.";
  const runId = response?.headers.get("X-Run-Id") ?? "";
  return new AgentError(message, { code: "streaming_unsupported", status: response?.status, runId });
}

/** A sender of requests to one server. */
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
   * Send a request and return the JSON of the response.
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
      throw unexpectedResponse(response.status, cause);
    }
  }

  /**
   * Send a request and return the response, unless it is an error.
   *
   * @typedef {object} RequestOptions
   * @property {string} [method]
   * @property {Record<string, string | number | undefined>} [query]
   * @property {unknown} [body] sent as JSON
   * @property {HeaderValues} [headers]
   * @property {AbortSignal} [signal]
   * @property {boolean} [keepalive] continue after the page is closed
   * @property {number[]} [allow] error statuses to accept
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
    const own = this.#headers;
    const common = typeof own === "function" ? await mapNetworkErrors(own) : own;
    const headers = { ...common, ...init.headers };
    if (body !== undefined) {
      headers["Content-Type"] = "application/json";
      init.body = JSON.stringify(body);
    }
    // An invalid header throws here, so that it is not mistaken for a network failure.
    const request = new Request(url, { ...init, headers });
    return mapNetworkErrors(() => fetch(request));
  }
}

/**
 * Call `send`, and throw network failures as `AgentError`.
 *
 * @template T
 * @param {() => T | Promise<T>} send
 */
async function mapNetworkErrors(send) {
  try {
    return await send();
  } catch (cause) {
    // `fetch` throws a TypeError if the network fails.
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
 * Return the seconds of a `Retry-After`, which is a number of seconds or a date.
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
 * Cancel a run.
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
