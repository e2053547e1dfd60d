/** The open conversation: starts, follows, pauses and cancels its runs. */

import { element } from "./dom.js";
import { sentenceOf, waysOn } from "./errors.js";
import { textOf } from "./transcript.js";

/** @import { AgentEvent, AgentStream, Conversation, StreamOptions, StreamStatus } from "../client/agent-client.js" */
/** @import { Exchange } from "./exchange.js" */
/** @import { ChatCallbacks, Components, Followed, Outcome } from "./types.js" */

/** Maximum wait for the cancellation of a run that is no longer shown. */
const CANCEL_TIMEOUT_MS = 10_000;
/** A longer wait that the server requests is shown as an error instead of a countdown. */
const MAX_COUNTDOWN_MS = 120_000;

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

  /**
   * Start a run and follow it to its end.
   *
   * @param {string} prompt
   */
  async start(prompt) {
    const { client, language, options, status, transcript } = this.#components;
    this.#opening.abort();
    const request = options.request(prompt);
    status.show("connecting");
    status.announce(language.text("working"));
    const exchange = transcript.begin(request);
    const { outcome } = await this.#follow(exchange, (more) => client.stream(request, more));
    return outcome;
  }

  /**
   * Show a conversation and follow its active run; without an id, begin a new conversation.
   * A run of the conversation shown before continues at the server.
   *
   * @param {string} conversationId
   */
  async open(conversationId) {
    const { older } = this.#components;
    this.#current?.connection.abort();
    this.#empty(conversationId);
    if (!conversationId) return this.#callbacks.opened("");
    this.#components.status.show("loading");
    const { signal } = (this.#opening = new AbortController());
    try {
      const conversation = await older.readEnd(conversationId, signal);
      this.#callbacks.opened(conversation.title, conversation.runs.at(-1)?.agent);
      older.offer(conversation);
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
    this.#components.status.show("streaming", this.#components.language.text("stopping"));
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

  /** True if no run is followed. */
  get isFree() {
    return !this.#current;
  }

  /** @param {string} conversationId */
  #empty(conversationId) {
    const { older, options, status, transcript } = this.#components;
    this.#opening.abort();
    this.#end();
    options.conversationId = conversationId;
    older.clear();
    transcript.clear();
    this.#callbacks.emptied();
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
    const { client, options, status, transcript } = this.#components;
    const runId = active_run_id ?? messages.at(-1)?.run_id;
    const first = messages.findIndex((message) => message.run_id === runId);
    const question = messages[first];
    const defaults = options.request("");
    if (!runId || question?.role !== "user") {
      status.show("ready");
      return transcript.load(conversation, defaults);
    }
    transcript.load({ messages: messages.slice(0, first), runs }, defaults);
    const exchange = transcript.begin({ ...defaults, input: textOf(question) });
    const { events, orgId } = options;
    const open = (/** @type {StreamOptions} */ more) =>
      client.follow(runId, { ...more, events, orgId });
    const { received } = await this.#follow(exchange, open, !active_run_id);
    if (!received && this.#current === undefined) transcript.load(conversation, defaults);
  }

  /**
   * @param {Exchange} exchange
   * @param {(options: StreamOptions) => AgentStream} open
   * @param {boolean} [replay]
   * @returns {Promise<{received: boolean, outcome?: Outcome}>}
   */
  async #follow(exchange, open, replay = false) {
    const connection = new AbortController();
    const onState = (/** @type {StreamStatus} */ status) => this.#onState(run, status);
    const stream = open({ signal: connection.signal, onState });
    /** @type {Followed} */
    const run = { exchange, stream, connection, replay, cancelling: false };
    this.#current = run;
    if (!replay) this.#components.composer.phase = "running";
    this.#callbacks.followed(replay);
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
    return { received, outcome: run.outcome };
  }

  /** Close the connection and stop to load; the run continues. */
  leave() {
    this.#current?.connection.abort();
    this.#opening.abort();
    this.#current = undefined;
  }

  #end() {
    if (this.#current) this.#callbacks.ended();
    this.#current = undefined;
    this.#components.composer.phase = "idle";
    if (this.#components.status.isActive) this.#components.status.show("ready");
  }

  /**
   * @param {Followed} run
   * @param {StreamStatus} status
   */
  #onState(run, { state, retryAt, error }) {
    // The page looks the same when it is shown again.
    if (run !== this.#current || state === "ended" || state === "hidden") return;
    const { composer, language, status } = this.#components;
    if (!run.replay) composer.phase = state === "paused" ? "paused" : "running";
    const wait = (retryAt ?? 0) - Date.now();
    if (error?.status === 429 && wait > MAX_COUNTDOWN_MS && !run.stream.runId) {
      return this.#giveUp(error, run);
    }
    if (state === "reconnecting") status.reconnecting(retryAt, error);
    else if (run.cancelling) status.show("streaming", language.text("stopping"));
    else status.show(run.replay ? "loading" : state);
  }

  /**
   * @param {AgentEvent} event
   * @param {Followed} run
   */
  #show(event, run) {
    const { exchange, replay } = run;
    const { language, options, status, transcript } = this.#components;
    this.#callbacks.received(event, replay);
    exchange.receive(event);
    transcript.follow();
    if (event.type === "connected") {
      const isNew = !options.conversationId;
      options.conversationId = event.data.metadata.conversation_id;
      this.lastRunId = event.data.metadata.run_id;
      if (isNew) this.#callbacks.opened(exchange.request.input);
      if (!replay) this.#callbacks.changed(this.lastRunId);
    } else if (event.type === "restarted" && !replay) {
      status.show("streaming", language.text("restarted"));
      status.announce(language.text("restarted"));
    } else if (event.type === "complete") {
      this.#complete(event.data.metadata.stop_reason, run);
    } else if (event.type === "error") {
      const failure = { message: event.data.error, code: event.data.metadata?.code };
      status.show("error");
      const reason = sentenceOf(failure, language, options.details);
      status.announce(language.text("failed", { reason }));
      exchange.suggest(...waysOn(failure, options, language));
      if (!replay) this.#callbacks.failed(failure);
    } else if (event.type === "done" && !replay) this.#callbacks.changed(this.lastRunId);
  }

  /**
   * @param {string} stopReason
   * @param {Followed} run
   */
  #complete(stopReason, run) {
    const { language, options, status } = this.#components;
    const { exchange: { text }, replay, stream: { runId } } = run;
    const stopped = stopReason === "cancelled";
    status.show(replay ? "ready" : stopped ? "stopped" : "completed");
    run.outcome = { text, stopReason, runId, conversationId: options.conversationId };
    if (replay) return;
    const key = stopped ? "stoppedAnswer" : "completedAnswer";
    status.announce(language.text(key, { answer: text }));
    this.#callbacks.completed(run.outcome);
  }

  /**
   * Show why the stream ended before its last event, with a way to go on.
   *
   * @param {any} error
   * @param {Followed} run
   */
  #showStreamError(error, { exchange, stream }) {
    const { composer, language, options } = this.#components;
    const { input } = exchange.request;
    exchange.fail(error);
    const again = () => {
      if (!this.idle) return;
      exchange.element.remove();
      composer.withdraw(input);
      this.start(input);
    };
    const join = () => this.open(options.conversationId);
    const act = error.code === "conversation_busy" ? join : stream.runId ? undefined : again;
    exchange.suggest(...waysOn(error, options, language, act));
    if (!stream.runId) composer.restorePrompt(input);
    this.#showFailure(error);
  }

  /** @param {any} error */
  #showFailure(error) {
    const { language, options, status } = this.#components;
    const reason = sentenceOf(error, language, options.details);
    status.show("error");
    status.announce(language.text("failed", { reason }));
    this.#callbacks.failed(error);
  }

  /**
   * Show an error that only a later attempt can avoid.
   *
   * @param {any} error
   * @param {Followed} run
   */
  #giveUp(error, run) {
    run.connection.abort();
    this.#showStreamError(error, run);
    run.exchange.close();
    this.#end();
  }

  /** Show why the conversation could not be read. @param {any} error */
  #showOpenError(error) {
    const { language, options, status, transcript } = this.#components;
    if (error.status === 404) {
      status.show("ready"); // no conversation has this id yet
      return this.#callbacks.opened("");
    }
    const { conversationId } = options;
    const sentence = element("p", "failure", sentenceOf(error, language, options.details));
    const ways = waysOn(error, options, language, () => this.open(conversationId));
    const row = element("li", "unreadable", sentence, ...ways);
    transcript.header = row;
    this.#showFailure(error);
  }

  /** @param {Followed} run */
  #disconnect(run) {
    const { composer, language, status } = this.#components;
    const disconnected = language.text("disconnected");
    this.#cancelAndLeave(run);
    run.exchange.note(disconnected);
    run.exchange.close();
    this.#end();
    if (!run.stream.runId) composer.restorePrompt(run.exchange.request.input);
    status.show("stopped");
    status.announce(disconnected);
  }

  /** Cancel a run that is no longer shown. @param {Followed} run */
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
