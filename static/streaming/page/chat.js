/** The open conversation: starts, follows, pauses and cancels its runs. */

import { textOf } from "./transcript.js";

/** @typedef {import("../client/agent-client.js").AgentClient} AgentClient */
/** @typedef {import("../client/agent-client.js").AgentEvent} AgentEvent */
/** @typedef {import("../client/agent-client.js").AgentStream} AgentStream */
/** @typedef {import("../client/agent-client.js").Conversation} Conversation */
/** @typedef {import("../client/agent-client.js").StreamOptions} StreamOptions */
/** @typedef {import("../client/agent-client.js").StreamStatus} StreamStatus */
/** @typedef {import("./composer.js").Composer} Composer */
/** @typedef {import("./inspector.js").Inspector} Inspector */
/** @typedef {import("./settings.js").Settings} Settings */
/** @typedef {import("./status.js").Status} Status */
/** @typedef {import("./transcript.js").Transcript} Transcript */
/** @typedef {import("./exchange.js").Exchange} Exchange */

/**
 * A run that the page follows.
 *
 * @typedef {object} Followed
 * @property {Exchange} exchange
 * @property {AgentStream} stream
 * @property {AbortController} connection
 * @property {boolean} replay the run had ended before it was followed
 * @property {boolean} cancelling
 */

/**
 * @typedef {object} Components
 * @property {AgentClient} client
 * @property {Transcript} transcript
 * @property {Inspector} inspector
 * @property {Status} status
 * @property {Composer} composer
 * @property {Settings} settings
 */

/**
 * @typedef {object} ChatCallbacks
 * @property {(title: string) => void} opened another conversation is shown, or its title is known
 * @property {(runId: string) => void} changed a run began or ended
 * @property {(error: any) => void} refused the server rejected a request
 */

const DISCONNECTED = "Disconnected. The server may continue for a while.";
/** Maximum wait for the cancellation of a run that the page no longer shows. */
const CANCEL_TIMEOUT_MS = 10_000;

export class Chat {
  #components;
  #callbacks;
  /** @type {Followed | undefined} */
  #current;
  #opening = new AbortController();
  /** The most recently followed run. */
  lastRunId = "";

  /**
   * @param {Components} components
   * @param {ChatCallbacks} callbacks
   */
  constructor(components, callbacks) {
    this.#components = components;
    this.#callbacks = callbacks;
  }

  /** True if no run is followed and no conversation is being loaded. */
  get idle() {
    return !this.#current && this.#components.status.shown !== "loading";
  }

  /** @param {string} prompt */
  start(prompt) {
    const { client, settings, status, transcript } = this.#components;
    this.#opening.abort();
    const request = settings.request(prompt);
    status.show("connecting");
    status.announce("The agent is working.");
    const exchange = transcript.begin(request);
    return this.#follow(exchange, (options) => client.stream(request, options));
  }

  /**
   * Show a conversation and follow its active run; without an id, begin a new conversation.
   * A run of the conversation shown before continues at the server.
   *
   * @param {string} conversationId
   */
  async open(conversationId) {
    const { client, settings } = this.#components;
    this.#current?.connection.abort();
    this.#empty(conversationId);
    if (!conversationId) return this.#callbacks.opened("");
    this.#components.status.show("loading");
    const { signal } = (this.#opening = new AbortController());
    try {
      const options = { orgId: settings.orgId, signal };
      const conversation = await client.conversations.get(conversationId, options);
      this.#callbacks.opened(conversation.title);
      await this.#restore(conversation);
    } catch (/** @type {any} */ error) {
      if (!signal.aborted) this.#showOpenError(error);
    }
  }

  /** Cancel the run. A second call, or one before the run is known, does not wait for the server. */
  stop() {
    const run = this.#current;
    if (!run) return;
    if (run.cancelling || !run.stream.runId) return this.#disconnect(run);
    run.cancelling = true;
    this.#components.status.show("streaming", "Stopping…");
    run.stream.cancel().catch((error) => {
      if (run === this.#current) this.#showStreamError(error, run);
    });
  }

  /** Pause the stream while the run continues, or resume a paused stream. */
  pause() {
    const stream = this.#current?.stream;
    if (stream?.state === "paused") stream.resume();
    else stream?.pause();
  }

  /** End the wait and reconnect now. */
  retryNow() {
    this.#current?.stream.retryNow();
  }

  /** Begin a new conversation and cancel the current run. */
  clear() {
    if (this.#current) this.#cancelAndLeave(this.#current);
    this.#empty("");
    this.#components.composer.focus();
    this.#callbacks.opened("");
  }

  /** @param {string} conversationId */
  #empty(conversationId) {
    const { inspector, settings, status, transcript } = this.#components;
    this.#opening.abort();
    this.#end();
    settings.conversationId = conversationId;
    transcript.clear();
    inspector.clear();
    status.show("ready");
  }

  /**
   * Show a stored conversation. Its last run is followed from its first event, even if it has
   * ended, so that it is shown exactly as it was streamed.
   *
   * @param {Conversation} conversation
   */
  async #restore(conversation) {
    const { messages, runs, active_run_id } = conversation;
    const { client, settings, status, transcript } = this.#components;
    const runId = active_run_id ?? messages.at(-1)?.run_id;
    const first = messages.findIndex((message) => message.run_id === runId);
    const question = messages[first];
    const defaults = settings.request("");
    if (!runId || question?.role !== "user") {
      status.show("ready");
      return transcript.load(conversation, defaults);
    }
    transcript.load({ messages: messages.slice(0, first), runs }, defaults);
    const exchange = transcript.begin({ ...defaults, input: textOf(question) });
    const { events, orgId } = settings;
    const open = (/** @type {StreamOptions} */ options) =>
      client.follow(runId, { ...options, events, orgId });
    const received = await this.#follow(exchange, open, !active_run_id);
    if (!received && this.#current === undefined) transcript.load(conversation, defaults);
  }

  /**
   * @param {Exchange} exchange
   * @param {(options: StreamOptions) => AgentStream} open
   * @param {boolean} [replay]
   * @returns {Promise<boolean>} true if any event was received
   */
  async #follow(exchange, open, replay = false) {
    const connection = new AbortController();
    const onState = (/** @type {StreamStatus} */ status) => this.#onState(run, status);
    const stream = open({ signal: connection.signal, onState });
    /** @type {Followed} */
    const run = { exchange, stream, connection, replay, cancelling: false };
    this.#current = run;
    if (!replay) this.#components.composer.phase = "running";
    this.#components.inspector.begin();
    let received = false;
    try {
      for await (const event of stream) {
        if (run !== this.#current) break;
        this.#show(event, run);
        received = true;
      }
    } catch (error) {
      if (run === this.#current) this.#showStreamError(error, run);
    }
    exchange.close();
    if (run === this.#current) this.#end();
    return received;
  }

  #end() {
    this.#components.inspector.end();
    this.#current = undefined;
    this.#components.composer.phase = "idle";
    if (this.#components.status.isActive) this.#components.status.show("ready");
  }

  /**
   * @param {Followed} run
   * @param {StreamStatus} status
   */
  #onState(run, { state, retryAt, error }) {
    if (run !== this.#current || state === "ended") return;
    const { composer, status } = this.#components;
    if (!run.replay) composer.phase = state === "paused" ? "paused" : "running";
    if (state === "reconnecting") status.reconnecting(retryAt, error);
    else if (run.cancelling) status.show("streaming", "Stopping…");
    else status.show(run.replay ? "loading" : state);
  }

  /**
   * @param {AgentEvent} event
   * @param {Followed} run
   */
  #show(event, { exchange, replay }) {
    const { inspector, settings, status, transcript } = this.#components;
    inspector.add(event);
    exchange.receive(event);
    transcript.follow();
    if (event.type === "connected") {
      const isNew = !settings.conversationId;
      settings.conversationId = event.data.metadata.conversation_id;
      this.lastRunId = event.data.metadata.run_id;
      if (isNew) this.#callbacks.opened(exchange.request.input);
      if (!replay) this.#callbacks.changed(this.lastRunId);
    } else if (event.type === "complete") {
      const stopped = event.data.metadata.stop_reason === "cancelled";
      status.show(replay ? "ready" : stopped ? "stopped" : "completed");
      if (!replay) status.announce(`${stopped ? "Stopped." : "Completed."} ${exchange.text}`);
    } else if (event.type === "error") {
      status.show("error");
      status.announce(`Error. ${event.data.error}`);
    } else if (event.type === "done" && !replay) this.#callbacks.changed(this.lastRunId);
  }

  /**
   * Show why the stream ended before its last event.
   *
   * @param {any} error
   * @param {Followed} run
   */
  #showStreamError(error, { exchange, stream }) {
    const { composer, settings, status } = this.#components;
    exchange.fail(error.message, error.code);
    if (error.code === "conversation_busy") {
      exchange.suggest("Join the active run", () => this.open(settings.conversationId));
    }
    if (!stream.runId) composer.restorePrompt(exchange.request.input);
    status.show("error");
    status.announce(`Error. ${error.message}`);
    this.#callbacks.refused(error);
  }

  /** Show why the conversation could not be read. @param {any} error */
  #showOpenError(error) {
    const { status } = this.#components;
    if (error.status === 404) {
      status.show("ready"); // no conversation has this id yet
      return this.#callbacks.opened("");
    }
    status.show("error", error.message);
    status.announce(`Error. ${error.message}`);
    this.#callbacks.refused(error);
  }

  /** @param {Followed} run */
  #disconnect(run) {
    const { composer, status } = this.#components;
    this.#cancelAndLeave(run);
    run.exchange.note(DISCONNECTED);
    run.exchange.close();
    this.#end();
    if (!run.stream.runId) composer.restorePrompt(run.exchange.request.input);
    status.show("stopped");
    status.announce(DISCONNECTED);
  }

  /** Cancel a run that the page no longer shows. @param {Followed} run */
  #cancelAndLeave({ stream, connection }) {
    const leave = () => {
      clearTimeout(timer);
      connection.abort();
      this.#callbacks.changed(stream.runId);
    };
    const timer = setTimeout(leave, CANCEL_TIMEOUT_MS);
    if (!stream.runId && stream.state !== "connecting") leave(); // no run was started
    else stream.cancel().then(leave, leave);
  }
}
