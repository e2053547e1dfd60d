/** The demo page: wires what a person does to the chat, and the chat to what is shown. */

import { go, here, rename } from "./page-url.js";
import { AgentClient } from "../client/agent-client.js";
import { showAgent } from "./agent-info.js";
import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { ConversationList } from "./conversation-list.js";
import { curlCommand } from "./curl.js";
import { byId } from "./dom.js";
import { Inspector } from "./inspector.js";
import { Pane } from "./panes.js";
import { ServerWatch } from "./server-watch.js";
import { Settings } from "./settings.js";
import { Status } from "./status.js";
import { switchTheme } from "./theme.js";
import { Transcript } from "./transcript.js";

/** @typedef {import("./exchange.js").Turn} Turn */

const API = new URL("api/v1/agent/", document.baseURI);
/** As much of a prompt as the server keeps for a title. */
const TITLE_CHARS = 120;

const settings = new Settings();
const client = new AgentClient({ baseUrl: API, headers: () => settings.headers });
const status = new Status(retryNow);
const composer = new Composer({
  start: (prompt) => chat.start(prompt),
  pause: () => chat.pause(),
  stop: () => chat.stop(),
  clear: () => chat.clear(),
});
const transcript = new Transcript(byId("transcript"), byId("conversation"), {
  regenerate: (turn) => chat.idle && chat.start(turn.request.input),
  curl,
});
const inspector = new Inspector(byId("events"), byId("event-count"));
const chat = new Chat(
  { client, transcript, inspector, status, composer, settings },
  { opened, changed, refused },
);
const list = new ConversationList(client, settings, {
  open,
  deleted: (id) => id === settings.conversationId && open(""),
  listed,
  refused,
  announce: (text) => status.announce(text),
});
const sidebar = new Pane("sidebar");
new Pane("inspector");
/** What other tabs of this browser do. */
const tabs = new BroadcastChannel("agent");

/** @param {string} conversationId */
function open(conversationId) {
  go({ conversationId, orgId: settings.orgInLinks });
  sidebar.closeDrawer();
  if (!conversationId) composer.focus();
  chat.open(conversationId);
}

/** The page was loaded, or the browser went back or forward. */
function openHere() {
  const { conversationId, orgId } = here();
  if (orgId || conversationId) settings.orgId = orgId;
  list.refresh();
  return chat.open(conversationId);
}

/**
 * Another conversation is shown, or the new one has got its name.
 *
 * @param {string} title
 */
function opened(title) {
  const { conversationId, orgInLinks: orgId } = settings;
  const known = here().conversationId;
  if (known && !conversationId) go({ conversationId, orgId });
  else rename({ conversationId, orgId });
  list.current = conversationId;
  byId("conversation-title").textContent = title.slice(0, TITLE_CHARS) || "New conversation";
  showTitle();
}

/**
 * A run began or ended, here.
 *
 * @param {string} runId
 */
function changed(runId) {
  list.refresh();
  const { conversationId, orgId } = settings;
  tabs.postMessage({ runId, conversationId, orgId });
}

/**
 * The same, in another tab: whose conversation is open here too and has not followed that
 * run reads it again.
 *
 * @param {MessageEvent} message
 */
function changedElsewhere({ data: { runId, conversationId, orgId } }) {
  list.refresh();
  const here = conversationId === settings.conversationId && orgId === settings.orgId;
  if (here && chat.idle && chat.lastRunId !== runId) chat.open(conversationId);
}

/** The list was read: whoever waits for nothing joins what was started elsewhere. */
function listed() {
  const { conversationId } = settings;
  if (chat.idle && list.activeRunOf(conversationId)) chat.open(conversationId);
}

/** @param {any} error */
function refused(error) {
  if (error.status === 401) settings.askForKey(error.message);
}

/** @param {boolean} elsewhere whether what is shown is not any more what is set */
function saved(elsewhere) {
  const { conversationId, orgInLinks: orgId } = settings;
  if (!elsewhere) return;
  go({ conversationId, orgId });
  showAgent(client).then(showTitle);
  list.refresh();
  chat.open(conversationId);
}

function retryNow() {
  chat.retryNow();
  watch.check();
}

/**
 * The command that asks the same.
 *
 * @param {Turn} turn
 */
function curl(turn) {
  return curlCommand(new URL("stream", API), turn.request, settings.headers);
}

function showTitle() {
  const agent = byId("agent-name").textContent ?? "";
  const title = settings.conversationId && byId("conversation-title").textContent;
  document.title = title ? `${title} – ${agent}` : agent;
}

const watch = new ServerWatch(client, (state) => {
  const back = state === "ready" && status.server !== "ready";
  status.server = state;
  if (!back) return;
  showAgent(client).then(showTitle);
  list.refresh();
});

switchTheme();
settings.onSave = saved;
byId("new").addEventListener("click", () => open(""));
addEventListener("popstate", openHere);
document.addEventListener("visibilitychange", () => document.hidden || list.refresh());
tabs.onmessage = changedElsewhere;
showAgent(client).then(showTitle);
openHere();
