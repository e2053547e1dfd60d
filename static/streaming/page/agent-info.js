/** The agent's name, provider and model at the top of the page. */

import { byId } from "./dom.js";

/** @typedef {import("../client/agent-client.js").AgentClient} AgentClient */

const DEMO_NOTICE =
  "The built-in demo model answers: offline and by rules. " +
  "To connect a real model, set ANTHROPIC_API_KEY or OPENAI_API_KEY.";

/** @param {AgentClient} client */
export async function showAgent(client) {
  try {
    const { name, provider, model } = await client.metadata();
    byId("agent-name").textContent = name;
    byId("agent-model").textContent = `${provider} · ${model}`;
    showNotice(provider === "demo" ? DEMO_NOTICE : "");
  } catch (/** @type {any} */ error) {
    showNotice(`The model is unknown. ${error.message}`);
  }
}

/** @param {string} text */
function showNotice(text) {
  const notice = byId("agent-notice");
  notice.textContent = text;
  notice.hidden = !text;
}
