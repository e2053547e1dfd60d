/** The choice of the agent of a new conversation, in a project with several agents. */

import { load, save } from "../chat/browser-storage.js";
import { byId, part } from "../chat/dom.js";
import { AgentClient } from "../client/agent-client.js";

/** @import { AgentChat } from "../chat/agent-chat.js" */
/** @import { Agent } from "../client/agent-client.js" */

/** The key under which the browser keeps the choice. */
const CHOICE = "agent";

export class AgentChoice {
  #chat;
  #questions;
  #place = byId(document, "agent-choice");
  /** @type {HTMLSelectElement} */
  #select = byId(document, "agent");
  #description = byId(document, "agent-description");
  /** @type {Agent[]} */
  #agents = [];

  /** @param {AgentChat} chat asks the chosen agent */
  constructor(chat) {
    this.#chat = chat;
    this.#questions = chat.getAttribute("questions") ?? "[]";
    this.#select.addEventListener("change", () => {
      save(CHOICE, this.#select.value);
      this.#choose(this.#select.value);
    });
  }

  /**
   * Take the agent of the shown conversation; for a new one the chosen agent, or the default.
   * A conversation whose agent is gone keeps the present one.
   *
   * @param {{conversationId: string, agent?: string}} shown no agent if it has just begun
   */
  async show({ conversationId, agent }) {
    if (!this.#agents.length) await this.#read();
    if (conversationId) this.#choose(agent);
    else if (!this.#choose(load(CHOICE))) this.#choose(this.#agents[0]?.name);
  }

  /** Read the agents that the user may use, and offer them if there are several. */
  async #read() {
    const chat = this.#chat;
    const client = new AgentClient({
      baseUrl: chat.getAttribute("api") ?? undefined,
      headers: chat.headers,
    });
    // Without the list, the default agent is asked: the chat shows why requests fail.
    this.#agents = await client.agents({ orgId: chat.request?.org_id }).catch(() => []);
    const options = this.#agents.map(({ name, title }) => part("option", { value: name }, title));
    this.#select.replaceChildren(...options);
    this.#place.hidden = options.length < 2;
  }

  /**
   * Have the chat ask an agent.
   *
   * @param {string} [name]
   * @returns {boolean} false if there is no such agent
   */
  #choose(name) {
    const chat = this.#chat;
    const agent = this.#agents.find((each) => each.name === name);
    if (!agent || agent.name === chat.getAttribute("agent")) return Boolean(agent);
    const own = JSON.stringify(agent.opening_questions);
    this.#select.value = agent.name;
    this.#description.textContent = agent.description;
    chat.setAttribute("agent", agent.name);
    chat.setAttribute("heading", agent.title);
    chat.setAttribute("questions", agent.default && own === "[]" ? this.#questions : own);
    chat.refresh();
    return true;
  }
}
