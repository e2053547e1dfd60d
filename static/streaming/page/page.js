/** The demo page: the component, and beside it what developers want: events and settings. */

import { AgentChat } from "../chat/agent-chat.js";
import { byId } from "../chat/dom.js";
import { icon } from "../chat/icons.js";
import { urlFor } from "../chat/page-url.js";
import { Pane } from "../chat/pane.js";
import { base } from "../chat/styles/base.js";
import { transcript } from "../chat/styles/transcript.js";
import { Settings } from "./settings.js";
import { page } from "./styles/page.js";
import { switchTheme } from "./theme.js";

/** Widths at which the events are beside the chat. */
const BESIDE = "(min-width: 76rem)";
const ORGANIZATION = "org";
/** Events of the element that the inspector shows. */
const SHOWN = ["start", "event", "end", "clear"];

document.adoptedStyleSheets = [base, transcript, page];
for (const place of document.querySelectorAll("[data-icon]")) {
  place.prepend(icon(place.getAttribute("data-icon") ?? ""));
}

/** @type {AgentChat} */
const chat = byId(document, "agent-chat");
const settings = new Settings(chat);
/** The events since the chat was last empty, until the inspector shows them. @type {any[]} */
let recorded = [];
/** @type {import("./inspector.js").Inspector | undefined} */
let inspector;
for (const name of SHOWN) chat.addEventListener(`agent-chat:${name}`, received);
const choice = document.getElementById("agent-choice") ? loadChoice() : undefined;
addInspector();
switchTheme();
readOrganization();
// Before the component's own listener, which loads a conversation of the organization.
addEventListener("popstate", readOrganization, { capture: true });
chat.addEventListener("agent-chat:conversation", async (/** @type {any} */ { detail }) => {
  writeOrganization();
  (await choice)?.show(detail);
});
chat.addEventListener("agent-chat:error", (/** @type {any} */ { detail }) => {
  if (detail.status === 401) settings.askForKey(detail.message, !chat.hasAttribute("sign-in"));
});

/** @param {any} event */
function received(event) {
  if (inspector) return inspector.receive(event);
  if (event.type === "agent-chat:clear") recorded = [];
  recorded.push(event);
}

/** Load the inspector's modules when it is opened for the first time. */
async function openInspector() {
  const module = await import("./inspector.js").catch(() => undefined);
  if (inspector || !module) return; // unreachable: events are recorded until the next time
  inspector = new module.Inspector(byId(document, "events"), byId(document, "event-count"));
  for (const event of recorded) inspector.receive(event);
  recorded = [];
}

/** Load the choice of the agent, which only a project with several agents has. */
async function loadChoice() {
  const module = await import("./agent-choice.js").catch(() => undefined);
  return module && new module.AgentChoice(chat);
}

function addInspector() {
  const pane = new Pane(
    "inspector",
    {
      state: document.documentElement,
      pane: byId(document, "inspector"),
      toggle: byId(document, "inspector-toggle"),
      close: byId(document, "inspector-close"),
      scrim: byId(document, "page-scrim"),
      covered: () => [chat],
    },
    {
      ...{ openAtFirst: false, role: "complementary" },
      onShow: (shown) => shown && openInspector(),
    },
  );
  const wide = matchMedia(BESIDE);
  pane.beside = wide.matches;
  wide.addEventListener("change", () => (pane.beside = wide.matches));
}

/** Take the organization from the URL. A URL with a conversation alone names the default one. */
function readOrganization() {
  const query = new URLSearchParams(location.search);
  const orgId = query.get(ORGANIZATION) ?? "";
  if (orgId || query.has("conversation")) settings.orgId = orgId;
}

/** Name the organization in the URL, so that links and reloads open it. */
function writeOrganization() {
  const url = new URL(urlFor(chat.conversationId), location.href);
  if (settings.orgInLinks) url.searchParams.set(ORGANIZATION, settings.orgInLinks);
  else url.searchParams.delete(ORGANIZATION);
  history.replaceState(history.state, "", url.search || url.pathname);
}
