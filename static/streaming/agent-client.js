/**
 * A client of the agent's HTTP API, without dependencies.
 *
 *     const client = new AgentClient("/api/v1/agent/");
 *     for await (const { type, data } of client.stream({ input: "Hello" })) {
 *       if (type === "content") show(data.content);
 *     }
 */

import { EventStreamParser } from "./sse.js";

/**
 * @typedef {object} RunRequest
 * @property {string} input
 * @property {string} [org_id]
 * @property {string} [conversation_id]
 * @property {number} [max_iterations]
 * @property {Record<string, string>} [context]
 */

/**
 * @typedef {object} AgentEvent
 * @property {string} id "" for an event that is not in the run's log
 * @property {string} type
 * @property {any} data the event as the server sent it
 */

/** What the server, or the way to it, answered instead of what was asked for. */
export class AgentError extends Error {
  name = "AgentError";

  /**
   * @param {string} message a sentence for people
   * @param {object} about
   * @param {string} about.code a word for programs
   * @param {number} [about.status] the HTTP status, 0 when there was no answer
   * @param {{field: string, message: string}[]} [about.details]
   * @param {string} [about.runId] the run that is in the way
   * @param {unknown} [about.cause]
   */
  constructor(message, { code, status = 0, details = [], runId = "", cause }) {
    super(message, { cause });
    this.code = code;
    this.status = status;
    this.details = details;
    this.runId = runId;
  }
}

export class AgentClient {
  #base;

  /** @param {string | URL} base the URL of the API, with a slash at its end */
  constructor(base) {
    this.#base = new URL(base, globalThis.document?.baseURI);
  }

  /** What the agent is and can do. */
  async metadata() {
    return (await this.#fetch("metadata")).json();
  }

  /**
   * Start a run and follow its events up to `done`.
   *
   * Aborting the signal, or leaving the loop, closes the connection but does not stop
   * the run: `cancel` does.
   *
   * @param {RunRequest} request
   * @param {{signal?: AbortSignal}} [options]
   * @returns {AsyncGenerator<AgentEvent, void, undefined>}
   * @throws {AgentError} also when the connection breaks before `done`
   */
  async *stream(request, { signal } = {}) {
    const response = await this.#fetch("stream", {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
      body: JSON.stringify(request),
      signal,
    });
    for await (const { id, event, data } of events(response)) {
      yield { id, type: event, data: JSON.parse(data) };
      if (event === "done") return;
    }
    throw connectionLost();
  }

  /**
   * Stop a run for good.
   *
   * @param {string} runId
   * @param {string} orgId
   */
  async cancel(runId, orgId) {
    const path = `runs/${encodeURIComponent(runId)}/cancel`;
    const query = new URLSearchParams({ org_id: orgId });
    const response = await this.#fetch(`${path}?${query}`, { method: "POST" });
    return response.json();
  }

  /**
   * @param {string} path
   * @param {RequestInit} [options]
   */
  async #fetch(path, options) {
    const response = await fetch(new URL(path, this.#base), options).catch((cause) => {
      if (cause.name === "AbortError") throw cause;
      const code = "unreachable";
      throw new AgentError("The server cannot be reached.", { code, cause });
    });
    if (!response.ok) throw await errorOf(response);
    return response;
  }
}

/** @param {Response} response */
async function errorOf(response) {
  const { status, statusText } = response;
  const body = await response.json().catch(() => null);
  if (typeof body?.error !== "string") {
    const message = `The server answered ${status} ${statusText}`.trimEnd() + ".";
    return new AgentError(message, { code: "unexpected_answer", status });
  }
  const { error, code, details, run_id: runId } = body;
  return new AgentError(error, { code, status, details, runId });
}

/** @param {Response} response */
async function* events(response) {
  if (!response.body) throw connectionLost();
  const parser = new EventStreamParser();
  const reader = response.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((cause) => {
        throw cause.name === "AbortError" ? cause : connectionLost(cause);
      });
      if (done) return;
      yield* parser.push(value);
    }
  } finally {
    reader.cancel().catch(() => {}); // fails only where there is nothing left to close
  }
}

/** @param {unknown} [cause] */
function connectionLost(cause) {
  const message = "The connection broke before the run ended.";
  return new AgentError(message, { code: "connection_lost", cause });
}
