/**
 * One event in the list: a line, with its JSON below when opened. It is not a `details`
 * element, because browsers are slow with thousands of them.
 */

import { element } from "../chat/dom.js";
import { prettyJson } from "../chat/json.js";
import { english } from "../chat/language.js";

/** @import { AgentEvent } from "../client/agent-client.js" */

const PREVIEW_CHARS = 120;

/**
 * @param {AgentEvent} event
 * @param {number} ms since the start of the run
 */
export function entryOf(event, ms) {
  const line = element(
    "button",
    "event-line",
    element("span", "event-id", event.id.slice(event.id.lastIndexOf(":") + 1) || "–"),
    element("span", "event-time", `+${english.milliseconds(ms)}`),
    element("span", "event-type", event.type),
    element("span", "event-preview", previewOf(event)),
  );
  line.type = "button";
  line.ariaExpanded = "false";
  line.addEventListener("click", () => toggle(line, event));
  const entry = element("div", "event", line);
  entry.role = "listitem";
  entry.dataset.type = event.type;
  entry.dataset.id = event.id;
  return entry;
}

/**
 * @param {HTMLElement} line
 * @param {AgentEvent} event
 */
function toggle(line, event) {
  const open = line.ariaExpanded === "true";
  if (open) line.nextElementSibling?.remove();
  else line.after(bodyOf(event));
  line.ariaExpanded = String(!open);
}

/** @param {AgentEvent} event */
function bodyOf({ id, data }) {
  const body = element("div", "event-body");
  if (id) body.append(element("p", "", `id ${id}`));
  body.append(element("pre", "", prettyJson(data)));
  return body;
}

/** @param {AgentEvent} event */
function previewOf({ type, data }) {
  switch (type) {
    case "connected":
      return data.metadata.model.slice(0, PREVIEW_CHARS);
    case "thinking":
      return data.thinking_step.slice(0, PREVIEW_CHARS);
    case "content":
      return data.content.slice(0, PREVIEW_CHARS);
    case "tool_call":
      return `${data.tool_call.name} ${data.tool_call.arguments}`.slice(0, PREVIEW_CHARS);
    case "tool_result":
      return `${data.tool_call.name} ${data.tool_call.result ?? ""}`.slice(0, PREVIEW_CHARS);
    case "input":
      return data.input.slice(0, PREVIEW_CHARS);
    case "restarted":
      return `void after ${data.metadata.discard_after}, attempt ${data.metadata.attempt}`;
    case "error":
      return data.error.slice(0, PREVIEW_CHARS);
    case "complete":
      return data.metadata.stop_reason;
    default:
      return "";
  }
}
