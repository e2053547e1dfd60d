/** The demo page: connects user actions, the chat and the views. */

import { AgentClient } from "../client/agent-client.js";
import { showAgent } from "./agent-info.js";
import { Chat } from "./chat.js";
import { Composer } from "./composer.js";
import { ConversationList } from "./conversation-list.js";
import { curlCommand } from "./curl.js";
import { byId } from "./dom.js";
import { Inspector } from "./inspector.js";
import { currentPlace, navigate, replaceUrl } from "./page-url.js";
import { Pane } from "./panes.js";
import { ServerWatch } from "./server-watch.js";
import { Settings } from "./settings.js";
import { Status } from "./status.js";
import { switchTheme } from "./theme.js";
import { Transcript } from "./transcript.js";

/** @typedef {import("./exchange.js").Exchange} Exchange */

const API = new URL("api/v1/agent/", document.baseURI);
/** Maximum length of the shown title, which is taken from the prompt. */
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
  regenerate: (exchange) => chat.idle && chat.start(exchange.request.input),
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
/** Messages from and to other tabs of this browser. */
const tabs = new BroadcastChannel("agent");

/** @param {string} conversationId */
function open(conversationId) {
  navigate({ conversationId, orgId: settings.orgInLinks });
  sidebar.closeDrawer();
  if (!conversationId) composer.focus();
  chat.open(conversationId);
}

/** Open the conversation of the URL, after a load or a step in the history. */
function openFromUrl() {
  const { conversationId, orgId } = currentPlace();
  if (orgId || conversationId) settings.orgId = orgId;
  list.refresh();
  return chat.open(conversationId);
}

/**
 * Update URL and title after another conversation is shown, or a new one got its title.
 *
 * @param {string} title
 */
function opened(title) {
  const { conversationId, orgInLinks: orgId } = settings;
  const known = currentPlace().conversationId;
  if (known && !conversationId) navigate({ conversationId, orgId });
  else replaceUrl({ conversationId, orgId });
  list.current = conversationId;
  byId("conversation-title").textContent = title.slice(0, TITLE_CHARS) || "New conversation";
  showTitle();
}

/**
 * Notify the list and other tabs that a run of this tab began or ended.
 *
 * @param {string} runId
 */
function changed(runId) {
  list.refresh();
  const { conversationId, orgId } = settings;
  tabs.postMessage({ runId, conversationId, orgId });
}

/**
 * Handle a run that began or ended in another tab: reload its conversation if it is open here
 * and the run was not followed here.
 *
 * @param {MessageEvent} message
 */
function changedElsewhere({ data: { runId, conversationId, orgId } }) {
  list.refresh();
  const isShown = conversationId === settings.conversationId && orgId === settings.orgId;
  if (isShown && chat.idle && chat.lastRunId !== runId) chat.open(conversationId);
}

/** After the list was loaded, join a run that another client started in the open conversation. */
function listed() {
  const { conversationId } = settings;
  if (chat.idle && list.activeRunOf(conversationId)) chat.open(conversationId);
}

/** @param {any} error */
function refused(error) {
  if (error.status === 401) settings.askForKey(error.message);
}

/** @param {boolean} targetChanged true if the organization, conversation or key changed */
function saved(targetChanged) {
  const { conversationId, orgInLinks: orgId } = settings;
  if (!targetChanged) return;
  navigate({ conversationId, orgId });
  showAgent(client).then(showTitle);
  list.refresh();
  chat.open(conversationId);
}

function retryNow() {
  chat.retryNow();
  watch.check();
}

/**
 * Return the curl command that sends the same request.
 *
 * @param {Exchange} exchange
 */
function curl(exchange) {
  return curlCommand(new URL("stream", API), exchange.request, settings.headers);
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
addEventListener("popstate", openFromUrl);
document.addEventListener("visibilitychange", () => document.hidden || list.refresh());
tabs.onmessage = changedElsewhere;
showAgent(client).then(showTitle);
openFromUrl();
