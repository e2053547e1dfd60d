/**
 * A client of the agent's HTTP API, without dependencies.
 *
 *     const client = new AgentClient();
 *     for await (const event of client.stream({ input: "Hello" })) {
 *       if (event.type === "content") show(event.data.content);
 *     }
 *
 * A stream outlives its connections: after a network failure, a restart of the server or a
 * laptop's sleep it resumes after the last event, without losing or repeating one.
 */

import { AgentHttp, cancelRun, runPath, unexpectedResponse } from "./agent-http.js";
import { AgentStream } from "./agent-stream.js";

export { AgentError } from "./agent-http.js";
export { AgentStream };

/** @typedef {import("./agent-types.js").AgentEvent} AgentEvent */
/** @typedef {import("./agent-types.js").EventType} EventType */
/** @typedef {import("./agent-types.js").RunRequest} RunRequest */
/** @typedef {import("./agent-types.js").RepeatRequest} RepeatRequest */
/** @typedef {import("./agent-types.js").RunResult} RunResult */
/** @typedef {import("./agent-types.js").RunState} RunState */
/** @typedef {import("./agent-types.js").Agent} Agent */
/** @typedef {import("./agent-types.js").AgentMetadata} AgentMetadata */
/** @typedef {import("./agent-types.js").Conversation} Conversation */
/** @typedef {import("./agent-types.js").ConversationPage} ConversationPage */
/** @typedef {import("./agent-types.js").ConversationSummary} ConversationSummary */
/** @typedef {import("./agent-types.js").Queue} Queue */
/** @typedef {import("./agent-types.js").Readiness} Readiness */
/** @typedef {import("./agent-types.js").StreamState} StreamState */
/** @typedef {import("./agent-types.js").StreamStatus} StreamStatus */
/** @typedef {import("./agent-types.js").StreamOptions} StreamOptions */

/**
 * @typedef {object} CallOptions
 * @property {string} [orgId] another organization than the client's
 * @property {AbortSignal} [signal]
 */

export class AgentClient {
  #http;
  #orgId;

  /** The conversations of the organization. */
  conversations;

  /**
   * @param {object} [options]
   * @param {string | URL} [options.baseUrl] of the API; in Node it must be absolute
   * @param {import("./agent-http.js").HeadersOption} [options.headers] sent with each
   *   request; a function is called for each request, so that a token can be renewed
   * @param {string} [options.orgId] the organization of calls that name none
   */
  constructor({ baseUrl = "/api/v1/agent/", headers = {}, orgId } = {}) {
    this.#http = new AgentHttp(baseUrl, headers);
    this.#orgId = orgId;
    this.conversations = new Conversations(this.#http, orgId);
  }

  /**
   * Start a run and follow its events up to `done`.
   *
   * The request is sent immediately, and repeated if the response never arrives. Its
   * `Idempotency-Key` makes the server start one run, however often it is sent. If the run
   * loses its server, it continues with `restarted`, unless the request has `restarts: false`.
   *
   * @param {RunRequest | RepeatRequest} request
   * @param {StreamOptions & {idempotencyKey?: string}} [options]
   */
  stream(request, options = {}) {
    const { idempotencyKey = newKey() } = options;
    const orgId = request.org_id ?? this.#orgId;
    const body = { restarts: true, ...request, org_id: orgId };
    const target = { request: body, idempotencyKey, orgId };
    return new AgentStream(this.#http, { ...target, events: request.events }, options);
  }

  /**
   * Follow an existing run, started by any client: all its events, or those after a
   * number or an event's id. The stream ends without events if none remain.
   *
   * @param {string} runId
   * @param {StreamOptions & {after?: number | string, events?: EventType[], orgId?: string}}
   *   [options]
   */
  follow(runId, options = {}) {
    const { after = 0, events, orgId = this.#orgId } = options;
    const number = Number(String(after).slice(String(after).lastIndexOf(":") + 1));
    return new AgentStream(this.#http, { runId, after: number, events, orgId }, options);
  }

  /**
   * Run to the end and return the result.
   *
   * @param {RunRequest | RepeatRequest} request
   * @param {{signal?: AbortSignal, idempotencyKey?: string}} [options]
   * @returns {Promise<RunResult>}
   */
  run(request, { signal, idempotencyKey } = {}) {
    const body = { ...request, org_id: request.org_id ?? this.#orgId };
    /** @type {Record<string, string>} */
    const headers = idempotencyKey ? { "Idempotency-Key": idempotencyKey } : {};
    return this.#http.json("run", { method: "POST", body, headers, signal });
  }

  /**
   * Return the agents that the caller may use, the default first.
   *
   * @param {CallOptions} [options]
   * @returns {Promise<Agent[]>}
   */
  async agents({ orgId = this.#orgId, signal } = {}) {
    return (await this.#http.json("../agents", { query: { org_id: orgId }, signal })).agents;
  }

  /**
   * Return an agent's name, model, tools, event types and limits.
   *
   * @param {{agent?: string, signal?: AbortSignal}} [options] the default agent if omitted
   * @returns {Promise<AgentMetadata>}
   */
  metadata({ agent, signal } = {}) {
    return this.#http.json("metadata", { query: { agent }, signal });
  }

  /**
   * Return the current state of a run.
   *
   * @param {string} runId
   * @param {CallOptions} [options]
   * @returns {Promise<RunState>}
   */
  getRun(runId, { orgId = this.#orgId, signal } = {}) {
    return this.#http.json(runPath(runId), { query: { org_id: orgId }, signal });
  }

  /**
   * Cancel a run, at the provider too.
   *
   * @param {string} runId
   * @param {{orgId?: string}} [options]
   * @returns {Promise<RunState>}
   */
  cancel(runId, { orgId = this.#orgId } = {}) {
    return cancelRun(this.#http, runId, orgId);
  }

  /**
   * Change the input of a pending run.
   *
   * @param {string} runId
   * @param {string} input
   * @param {CallOptions} [options]
   * @returns {Promise<RunState>}
   */
  edit(runId, input, { orgId = this.#orgId, signal } = {}) {
    const query = { org_id: orgId };
    return this.#http.json(runPath(runId), { method: "PATCH", query, body: { input }, signal });
  }

  /**
   * Return the server's readiness, with the state of each dependency.
   *
   * @param {CallOptions} [options]
   * @returns {Promise<Readiness>}
   */
  async ready({ signal } = {}) {
    const readiness = await this.#http.json("../../../ready", { signal, allow: [503] });
    if (!readiness.checks) throw unexpectedResponse(503); // from a proxy, not from the server
    return readiness;
  }
}

class Conversations {
  #http;
  #orgId;

  /**
   * @param {AgentHttp} http
   * @param {string} [orgId]
   */
  constructor(http, orgId) {
    this.#http = http;
    this.#orgId = orgId;
  }

  /**
   * Return a page of conversations, newest first; `cursor` is the previous page's `next_cursor`.
   *
   * @param {CallOptions & {limit?: number, cursor?: string, search?: string}} [options]
   * @returns {Promise<ConversationPage>}
   */
  list({ limit, cursor, search, orgId = this.#orgId, signal } = {}) {
    const query = { org_id: orgId, limit, cursor, search };
    return this.#http.json("conversations", { query, signal });
  }

  /**
   * Return one conversation with its messages, the oldest first.
   *
   * A long one has parts: `next_cursor` leads from the first messages to later ones, or with
   * `from: "end"` from the last messages to earlier ones.
   *
   * @param {string} id
   * @param {CallOptions & {from?: "start" | "end", limit?: number, cursor?: string}} [options]
   * @returns {Promise<Conversation>}
   */
  get(id, { from, limit, cursor, orgId = this.#orgId, signal } = {}) {
    const query = { org_id: orgId, from, limit, cursor };
    return this.#http.json(pathOf(id), { query, signal });
  }

  /**
   * Delete a conversation: its messages, its runs and their events.
   *
   * @param {string} id
   * @param {CallOptions} [options]
   */
  async delete(id, { orgId = this.#orgId, signal } = {}) {
    await this.#http.send(pathOf(id), { method: "DELETE", query: { org_id: orgId }, signal });
  }

  /**
   * Return the pending runs of a conversation.
   *
   * @param {string} id
   * @param {CallOptions} [options]
   * @returns {Promise<Queue>}
   */
  async queue(id, { orgId, signal } = {}) {
    return (await this.#send("GET", "/queue", id, { orgId, signal })).json();
  }

  /**
   * Put the pending runs of a conversation into another order.
   *
   * @param {string} id
   * @param {string[]} order the ids of all of them
   * @param {CallOptions} [options]
   * @returns {Promise<Queue>}
   */
  async reorder(id, order, { orgId, signal } = {}) {
    return (await this.#send("PATCH", "/queue", id, { orgId, signal }, { order })).json();
  }

  /**
   * Cancel the pending runs of a conversation.
   *
   * @param {string} id
   * @param {CallOptions} [options]
   */
  async clearQueue(id, { orgId, signal } = {}) {
    await this.#send("DELETE", "/queue", id, { orgId, signal });
  }

  /**
   * Show the branch through a message.
   *
   * @param {string} id
   * @param {number} messageId
   * @param {CallOptions} [options]
   * @returns {Promise<Conversation>}
   */
  async goTo(id, messageId, { orgId, signal } = {}) {
    const body = { message_id: messageId };
    return (await this.#send("POST", "/head", id, { orgId, signal }, body)).json();
  }

  /**
   * Copy a branch into a new conversation, up to a message or the head.
   *
   * @param {string} id
   * @param {CallOptions & {messageId?: number, newId?: string}} [options]
   * @returns {Promise<ConversationSummary>}
   */
  async fork(id, { messageId, newId, orgId, signal } = {}) {
    const body = { message_id: messageId, conversation_id: newId };
    return (await this.#send("POST", "/fork", id, { orgId, signal }, body)).json();
  }

  /**
   * @param {string} id
   * @param {string} title
   * @param {CallOptions} [options]
   * @returns {Promise<ConversationSummary>}
   */
  async rename(id, title, { orgId, signal } = {}) {
    return (await this.#send("PATCH", "", id, { orgId, signal }, { title })).json();
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {string} id
   * @param {CallOptions} [options]
   * @param {object} [body]
   */
  #send(method, path, id, { orgId = this.#orgId, signal } = {}, body) {
    const query = { org_id: orgId, conversation_id: id };
    return this.#http.send(`conversation${path}`, { method, query, body, signal });
  }
}

/** @param {string} id */
function pathOf(id) {
  return `conversations/${encodeURIComponent(id)}`;
}

/** Return a random unique key. Pages without HTTPS lack `randomUUID`. */
function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
