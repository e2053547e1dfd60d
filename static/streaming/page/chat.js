/** The conversation that is open: its runs are started, followed, paused and stopped here. */

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
/** @typedef {import("./exchange.js").Turn} Turn */

/**
 * A run as the page follows it.
 *
 * @typedef {object} Followed
 * @property {Turn} turn
 * @property {AgentStream} stream
 * @property {AbortController} connection
 * @property {boolean} past it had ended before it was followed
 * @property {boolean} stopping
 */

/**
 * @typedef {object} Parts
 * @property {AgentClient} client
 * @property {Transcript} transcript
 * @property {Inspector} inspector
 * @property {Status} status
 * @property {Composer} composer
 * @property {Settings} settings
 */

/**
 * @typedef {object} News
 * @property {(title: string) => void} opened another conversation is shown, or its name known
 * @property {(runId: string) => void} changed a run began or ended
 * @property {(error: any) => void} refused the server did not let us
 */

const LEFT = "Stopped listening. The server may work on for a while.";
/** How long a run that nobody waits for may take to be known, so that it can be stopped. */
const PATIENCE_MS = 10_000;

export class Chat {
  #parts;
  #news;
  /** @type {Followed | undefined} */
  #current;
  #opening = new AbortController();
  /** The run that was followed last. */
  lastRunId = "";

  /**
   * @param {Parts} parts
   * @param {News} news
   */
  constructor(parts, news) {
    this.#parts = parts;
    this.#news = news;
  }

  /** Nothing is under way here, nor being read. */
  get idle() {
    return !this.#current && this.#parts.status.shown !== "loading";
  }

  /** @param {string} prompt */
  start(prompt) {
    const { client, settings, status, transcript } = this.#parts;
    this.#opening.abort();
    const request = settings.request(prompt);
    status.show("connecting");
    status.announce("The agent is working.");
    const turn = transcript.begin(request);
    return this.#follow(turn, (options) => client.stream(request, options));
  }

  /**
   * Show a conversation, and go on with its run under way; without an id, begin a new one.
   * A run that is under way in the one shown until now goes on without us.
   *
   * @param {string} conversationId
   */
  async open(conversationId) {
    const { client, settings } = this.#parts;
    this.#current?.connection.abort();
    this.#empty(conversationId);
    if (!conversationId) return this.#news.opened("");
    this.#parts.status.show("loading");
    const { signal } = (this.#opening = new AbortController());
    try {
      const options = { orgId: settings.orgId, signal };
      const conversation = await client.conversations.get(conversationId, options);
      this.#news.opened(conversation.title);
      await this.#recall(conversation);
    } catch (/** @type {any} */ error) {
      if (!signal.aborted) this.#explainClosed(error);
    }
  }

  /** Stop the run for good. Asked again, or where the server is silent: do not wait for it. */
  stop() {
    const run = this.#current;
    if (!run) return;
    if (run.stopping || !run.stream.runId) return this.#giveUp(run);
    run.stopping = true;
    this.#parts.status.show("streaming", "Stopping…");
    run.stream.cancel().catch((error) => {
      if (run === this.#current) this.#explain(error, run);
    });
  }

  /** Stop listening while the run goes on; or listen again, from where we were. */
  pause() {
    const stream = this.#current?.stream;
    if (stream?.state === "paused") stream.resume();
    else stream?.pause();
  }

  /** Do not wait for the next try. */
  retryNow() {
    this.#current?.stream.retryNow();
  }

  /** Begin a new conversation; the run under way is not wanted any more. */
  clear() {
    if (this.#current) this.#dismiss(this.#current);
    this.#empty("");
    this.#parts.composer.focus();
    this.#news.opened("");
  }

  /** @param {string} conversationId */
  #empty(conversationId) {
    const { inspector, settings, status, transcript } = this.#parts;
    this.#opening.abort();
    this.#end();
    settings.conversationId = conversationId;
    transcript.clear();
    inspector.clear();
    status.show("ready");
  }

  /**
   * The last run is followed from its first event, also when it has ended: so it looks
   * as if we had been there.
   *
   * @param {Conversation} conversation
   */
  async #recall(conversation) {
    const { messages, runs, active_run_id } = conversation;
    const { client, settings, status, transcript } = this.#parts;
    const runId = active_run_id ?? messages.at(-1)?.run_id;
    const first = messages.findIndex((message) => message.run_id === runId);
    const asked = messages[first];
    const said = settings.request("");
    if (!runId || asked?.role !== "user") {
      status.show("ready");
      return transcript.load(conversation, said);
    }
    transcript.load({ messages: messages.slice(0, first), runs }, said);
    const turn = transcript.begin({ ...said, input: textOf(asked) });
    const { events, orgId } = settings;
    const begin = (/** @type {StreamOptions} */ options) =>
      client.follow(runId, { ...options, events, orgId });
    const came = await this.#follow(turn, begin, !active_run_id);
    if (!came && this.#current === undefined) transcript.load(conversation, said);
  }

  /**
   * @param {Turn} turn
   * @param {(options: StreamOptions) => AgentStream} begin
   * @param {boolean} [past]
   * @returns {Promise<boolean>} whether anything came
   */
  async #follow(turn, begin, past = false) {
    const connection = new AbortController();
    const onState = (/** @type {StreamStatus} */ status) => this.#onState(run, status);
    const stream = begin({ signal: connection.signal, onState });
    /** @type {Followed} */
    const run = { turn, stream, connection, past, stopping: false };
    this.#current = run;
    if (!past) this.#parts.composer.phase = "running";
    this.#parts.inspector.begin();
    let came = false;
    try {
      for await (const event of stream) {
        if (run !== this.#current) break;
        this.#show(event, run);
        came = true;
      }
    } catch (error) {
      if (run === this.#current) this.#explain(error, run);
    }
    turn.close();
    if (run === this.#current) this.#end();
    return came;
  }

  #end() {
    this.#parts.inspector.end();
    this.#current = undefined;
    this.#parts.composer.phase = "idle";
    if (this.#parts.status.underWay) this.#parts.status.show("ready");
  }

  /**
   * @param {Followed} run
   * @param {StreamStatus} status
   */
  #onState(run, { state, retryAt, error }) {
    if (run !== this.#current || state === "ended") return;
    const { composer, status } = this.#parts;
    if (!run.past) composer.phase = state === "paused" ? "paused" : "running";
    if (state === "reconnecting") status.reconnecting(retryAt, error);
    else if (run.stopping) status.show("streaming", "Stopping…");
    else status.show(run.past ? "loading" : state);
  }

  /**
   * @param {AgentEvent} event
   * @param {Followed} run
   */
  #show(event, { turn, past }) {
    const { inspector, settings, status, transcript } = this.#parts;
    inspector.add(event);
    turn.receive(event);
    transcript.follow();
    if (event.type === "connected") {
      const isNew = !settings.conversationId;
      settings.conversationId = event.data.metadata.conversation_id;
      this.lastRunId = event.data.metadata.run_id;
      if (isNew) this.#news.opened(turn.request.input);
      if (!past) this.#news.changed(this.lastRunId);
    } else if (event.type === "complete") {
      const stopped = event.data.metadata.stop_reason === "cancelled";
      status.show(past ? "ready" : stopped ? "stopped" : "completed");
      if (!past) status.announce(`${stopped ? "Stopped." : "Completed."} ${turn.text}`);
    } else if (event.type === "error") {
      status.show("error");
      status.announce(`Error. ${event.data.error}`);
    } else if (event.type === "done" && !past) this.#news.changed(this.lastRunId);
  }

  /**
   * The stream ended otherwise than by its last event.
   *
   * @param {any} error
   * @param {Followed} run
   */
  #explain(error, { turn, stream }) {
    const { composer, settings, status } = this.#parts;
    turn.fail(error.message, error.code);
    if (error.code === "conversation_busy") {
      turn.propose("Join the run under way", () => this.open(settings.conversationId));
    }
    if (!stream.runId) composer.giveBack(turn.request.input);
    status.show("error");
    status.announce(`Error. ${error.message}`);
    this.#news.refused(error);
  }

  /** The conversation could not be read. @param {any} error */
  #explainClosed(error) {
    const { status } = this.#parts;
    if (error.status === 404) {
      status.show("ready"); // of this name there is none yet
      return this.#news.opened("");
    }
    status.show("error", error.message);
    status.announce(`Error. ${error.message}`);
    this.#news.refused(error);
  }

  /** @param {Followed} run */
  #giveUp(run) {
    const { composer, status } = this.#parts;
    this.#dismiss(run);
    run.turn.note(LEFT);
    run.turn.close();
    this.#end();
    if (!run.stream.runId) composer.giveBack(run.turn.request.input);
    status.show("stopped");
    status.announce(LEFT);
  }

  /** Stop a run that nobody waits for. @param {Followed} run */
  #dismiss({ stream, connection }) {
    const leave = () => {
      clearTimeout(timer);
      connection.abort();
      this.#news.changed(stream.runId);
    };
    const timer = setTimeout(leave, PATIENCE_MS);
    if (!stream.runId && stream.state !== "connecting") leave(); // none was started
    else stream.cancel().then(leave, leave);
  }
}
