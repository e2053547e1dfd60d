/** The open conversation: starts, follows, pauses and cancels its runs. */

import { element } from "./dom.js";
import { sentenceOf, waysOn } from "./errors.js";
import { textOf } from "./transcript.js";

/** @import { AgentEvent, AgentStream, Conversation, StreamOptions, StreamStatus } from "../client/agent-client.js" */
/** @import { Exchange } from "./exchange.js" */
/** @import { AnyRequest, ChatCallbacks, Components, Followed, Outcome } from "./types.js" */

/** Messages of one request. */
const PAGE = 100;
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
  /** Loaded when a question waits. @type {import("./queue.js").Queue | undefined} */
  #queue;
  /** Loaded for a long conversation. @type {import("./older-messages.js").OlderMessages | undefined} */
  #older;
  /** True if runs have started that are not shown. */
  #isBehind = false;
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
  start(prompt) {
    return this.#send(this.#components.options.request(prompt));
  }

  /**
   * @param {AnyRequest} request
   * @param {string} [question] of a request without input
   */
  async #send(request, question) {
    const { client, language, status, transcript } = this.#components;
    this.#opening.abort();
    status.show("connecting");
    status.announce(language.text("working"));
    const exchange = transcript.begin(request, question);
    const { outcome } = await this.#follow(exchange, (more) => client.stream(request, more));
    return outcome;
  }

  /** Start a run after the active one. @param {string} prompt */
  async enqueue(prompt) {
    const known = this.#current?.known;
    try {
      const queue = await this.#loadQueue();
      const isAccepted = await queue.add(prompt, known);
      if (isAccepted && this.idle) await this.#advance(); // the run may have begun at once
    } catch (error) {
      this.#components.composer.add(prompt);
      this.showFailure(error);
    }
  }

  /** Answer the question of an exchange again. @param {Exchange} exchange */
  repeat(exchange) {
    if (!this.idle) return;
    const { runId: regenerate, question, message } = exchange;
    if (!regenerate) return this.replace(exchange, question, message?.parent_id ?? null);
    const { input, parent_message_id, ...request } = this.#components.options.request("");
    this.#components.transcript.cut(exchange);
    return this.#send({ ...request, regenerate }, question);
  }

  /**
   * Ask another question in place of that of an exchange.
   *
   * @param {Exchange} exchange
   * @param {string} prompt
   * @param {number | null} parent_message_id
   */
  replace(exchange, prompt, parent_message_id) {
    if (!this.idle) return;
    const { options, transcript } = this.#components;
    transcript.cut(exchange);
    return this.#send({ ...options.request(prompt), parent_message_id });
  }

  /** Show the branch through a message. @param {number} messageId */
  async goTo(messageId) {
    const { client, options, status } = this.#components;
    const { conversationId, orgId } = options;
    status.show("loading");
    const { signal } = (this.#opening = new AbortController());
    try {
      await client.conversations.goTo(conversationId, messageId, { orgId, signal });
      const conversation = await this.#read(conversationId, signal);
      this.#emptyTranscript();
      await this.#restore(conversation);
    } catch (error) {
      if (!signal.aborted) this.showFailure(error);
    }
  }

  /**
   * Show a conversation and follow its active run; without an id, begin a new conversation.
   * A run of the conversation shown before continues at the server.
   *
   * @param {string} conversationId
   */
  async open(conversationId) {
    this.#current?.connection.abort();
    this.#empty(conversationId);
    if (!conversationId) return this.#callbacks.opened("");
    this.#components.status.show("loading");
    const { signal } = (this.#opening = new AbortController());
    try {
      const conversation = await this.#read(conversationId, signal);
      this.#callbacks.opened(conversation.title, conversation.runs.at(-1)?.agent);
      if (conversation.active_run_id) this.readQueue();
      await this.#restore(conversation);
    } catch (/** @type {any} */ error) {
      if (!signal.aborted) this.#showOpenError(error);
    }
  }

  /**
   * Return the end of a conversation, and offer the messages before it.
   *
   * @param {string} id
   * @param {AbortSignal} signal
   */
  async #read(id, signal) {
    const { client, options } = this.#components;
    const end = /** @type {const} */ ({ orgId: options.orgId, signal, limit: PAGE, from: "end" });
    const conversation = await client.conversations.get(id, end);
    if (!conversation.next_cursor) return conversation;
    const { OlderMessages } = await import("./older-messages.js");
    this.#older ??= new OlderMessages(this.#components);
    return this.#older.complete(conversation, signal);
  }

  /** Read which questions wait, if any. */
  async readQueue() {
    const { client, options } = this.#components;
    const { conversationId, orgId } = options;
    if (!conversationId) return;
    const found = await client.conversations.queue(conversationId, { orgId }).catch(() => undefined);
    if (!found || (!found.runs.length && !this.#queue?.size)) return;
    const queue = await this.#loadQueue().catch(() => undefined);
    if (conversationId === options.conversationId) queue?.show(found.runs);
  }

  async #loadQueue() {
    const { Queue } = await import("./queue.js");
    const changed = () => this.#callbacks.changed(this.lastRunId);
    return (this.#queue ??= new Queue(this.#components, changed));
  }

  /** Follow the run that has started after the one that ended. */
  async #advance() {
    const { client, composer, options, status, transcript } = this.#components;
    const { conversationId, events, orgId } = options;
    composer.phase = "running";
    status.show("loading");
    const { signal } = (this.#opening = new AbortController());
    try {
      const { sent } = this.#queue ?? {};
      await this.#queue?.refresh(signal);
      const conversation = await this.#read(conversationId, signal);
      if (signal.aborted) return;
      const { messages } = conversation;
      const last = messages.findLastIndex(({ run_id }) => run_id === this.lastRunId);
      if (last < 0) return this.open(conversationId);
      const [next, ...later] = messages.slice(last + 1).filter(({ role }) => role === "user");
      this.#isBehind = later.some(({ run_id }) => run_id !== next.run_id);
      if (next?.run_id) {
        const exchange = transcript.begin(options.request(textOf(next)));
        const { run_id } = next;
        const open = (/** @type {StreamOptions} */ more) =>
          client.follow(run_id, { ...more, events, orgId });
        await this.#follow(exchange, open);
      } else if (this.#queue?.isSending) {
        await sent;
        if (!signal.aborted) await this.#advance();
      } else this.#end();
    } catch (error) {
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

  /** Begin a new conversation; cancel the current run and those that wait for it. */
  clear() {
    this.#queue?.clear();
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
    const { options, status } = this.#components;
    this.#opening.abort();
    this.#end();
    this.#queue?.empty();
    options.conversationId = conversationId;
    this.#emptyTranscript();
    status.show("ready");
  }

  #emptyTranscript() {
    this.#older?.clear();
    this.#components.transcript.clear();
    this.#callbacks.emptied();
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
    this.#older?.offer(conversation);
    const last = messages.at(-1);
    // A repeated answer that has no message yet ends at its question.
    const runId = active_run_id ?? (last?.role === "user" ? runs.at(-1)?.run_id : last?.run_id);
    let first = messages.findIndex((message) => message.run_id === runId);
    if (first < 0) first = messages.length - 1;
    else if (messages[first].role !== "user") first -= 1;
    const question = messages[first];
    const defaults = options.request("");
    if (!runId || question?.role !== "user") {
      status.show("ready");
      return transcript.load(conversation, defaults);
    }
    transcript.load({ messages: messages.slice(0, first), runs }, defaults);
    const exchange = transcript.begin({ ...defaults, input: textOf(question) });
    exchange.place(question, messages[first + 1]);
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
    let onKnown = () => {};
    /** @type {Promise<void>} */
    const known = new Promise((resolve) => (onKnown = resolve));
    /** @type {Followed} */
    const run = { exchange, stream, connection, replay, cancelling: false, known, onKnown };
    this.#current = run;
    if (!replay) this.#components.composer.phase = "running";
    this.#callbacks.followed(replay);
    let received = false;
    let isWhole = false;
    try {
      for await (const event of stream) {
        if (run !== this.#current) break;
        this.#show(event, run);
        received = true;
        isWhole = event.type === "done";
      }
    } catch (error) {
      if (run === this.#current) this.#showStreamError(error, run);
    }
    exchange.close();
    onKnown();
    if (run === this.#current) {
      const goesOn = isWhole && (this.#isBehind || this.#queue?.size);
      this.#end(goesOn ? "running" : "idle");
      const { parent_message_id, regenerate } = /** @type {any} */ (exchange.request);
      if (regenerate || parent_message_id !== undefined) this.#callbacks.branched(exchange);
      if (goesOn) this.#advance();
    }
    return { received, outcome: run.outcome };
  }

  /** Close the connection and stop to load; the run continues. */
  leave() {
    this.#current?.connection.abort();
    this.#opening.abort();
    this.#current = undefined;
  }

  /** @param {import("./composer.js").Phase} [phase] "running" if another run is to be followed */
  #end(phase = "idle") {
    if (this.#current) this.#callbacks.ended();
    this.#current = undefined;
    this.#components.composer.phase = phase;
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
      run.onKnown();
      if (isNew) this.#callbacks.opened(exchange.question);
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
    const { request, question } = exchange;
    exchange.fail(error);
    const again = () => {
      if (!this.idle) return;
      exchange.element.remove();
      composer.withdraw(question);
      this.#send(request, question);
    };
    const join = () => this.open(options.conversationId);
    const act = error.code === "conversation_busy" ? join : stream.runId ? undefined : again;
    exchange.suggest(...waysOn(error, options, language, act));
    if (!stream.runId) composer.restorePrompt(question);
    this.showFailure(error);
  }

  /** @param {any} error */
  showFailure(error) {
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
    this.showFailure(error);
  }

  /** @param {Followed} run */
  #disconnect(run) {
    const { composer, language, status } = this.#components;
    const disconnected = language.text("disconnected");
    this.#cancelAndLeave(run);
    run.exchange.note(disconnected);
    run.exchange.close();
    this.#end();
    if (!run.stream.runId) composer.restorePrompt(run.exchange.question);
    status.show("stopped");
    status.announce(disconnected);
  }

  /** Cancel a run that is no longer shown. @param {Followed} run */
  #cancelAndLeave({ stream, connection }) {
    const leave = () => {
      clearTimeout(timer);
      connection.abort();
      this.#callbacks.changed(stream.runId);
      if (this.idle && this.#queue?.size) this.open(this.#components.options.conversationId);
    };
    const timer = setTimeout(leave, CANCEL_TIMEOUT_MS);
    if (!stream.runId && stream.state !== "connecting") leave(); // no run was started
    else stream.cancel().then(leave, leave);
  }
}
