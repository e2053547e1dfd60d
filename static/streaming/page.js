/** The demo page: wires what a person does to runs, and runs to what is shown. */

import { AgentClient } from "./agent-client.js";
import { showAgent } from "./agent-info.js";
import { Composer } from "./composer.js";
import { byId } from "./dom.js";
import { Inspector } from "./inspector.js";
import { Run } from "./run.js";
import { Status } from "./status.js";
import { Transcript } from "./transcript.js";

/** @typedef {import("./agent-client.js").AgentEvent} AgentEvent */
/** @typedef {import("./agent-client.js").RunRequest} RunRequest */
/** @typedef {import("./turn.js").Turn} Turn */

const LEFT = "Stopped listening. The server may work on for a while.";

const client = new AgentClient({ baseUrl: "api/v1/agent/" });
const transcript = new Transcript(byId("transcript"), byId("conversation"));
const log = new Inspector(byId("events"), byId("event-count"));
const status = new Status(byId("status"), byId("announcement"));
const composer = new Composer({ start, stop, clear });

/** @type {Run | undefined} The run under way. */
let current;

/** @param {RunRequest} request */
async function start(request) {
  const run = new Run(client, request, ({ state }) => {
    if (run === current && state === "reconnecting") status.show(state);
  });
  const turn = transcript.begin(request);
  current = run;
  composer.running = true;
  log.begin();
  status.show("connecting");
  status.announce("The agent is working.");
  try {
    for await (const event of run.events()) show(event, turn);
  } catch (error) {
    if (run === current) explain(error, run, turn, request);
  }
  turn.close();
  if (run === current) end();
}

function stop() {
  status.show("streaming", "Stopping…");
  current?.stop();
}

function clear() {
  current?.discard();
  end();
  transcript.clear();
  log.clear();
  status.show("ready");
}

function end() {
  current = undefined;
  composer.running = false;
}

/**
 * @param {AgentEvent} event
 * @param {Turn} turn
 */
function show(event, turn) {
  log.add(event);
  turn.receive(event);
  transcript.follow();
  if (event.type === "connected") {
    composer.conversationId = event.data.metadata.conversation_id;
    status.show("streaming");
  } else if (event.type === "complete") {
    const stopped = event.data.metadata.stop_reason === "cancelled";
    status.show(stopped ? "stopped" : "completed");
    status.announce(`${stopped ? "Stopped." : "Completed."} ${turn.text}`);
  } else if (event.type === "error") {
    status.show("error");
    status.announce(`Error. ${event.data.error}`);
  }
}

/**
 * The stream ended otherwise than by its last event.
 *
 * @param {any} error
 * @param {Run} run
 * @param {Turn} turn
 * @param {RunRequest} request
 */
function explain(error, run, turn, request) {
  if (run.left) {
    turn.note(LEFT);
    status.show("stopped");
    status.announce(LEFT);
  } else {
    turn.fail(error.message, error.code);
    status.show("error");
    status.announce(`Error. ${error.message}`);
  }
  if (!run.known) composer.giveBack(request.input);
  transcript.follow();
}

showAgent(client);
