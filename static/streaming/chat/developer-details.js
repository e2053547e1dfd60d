/** Details for developers: the agent's model, and the state of the server. */

import { byId } from "./dom.js";
import { ServerWatch } from "./server-watch.js";

/** @import { AgentClient } from "../client/agent-client.js" */
/** @import { Options } from "./options.js" */
/** @import { Status } from "./status.js" */

const DEMO_NOTICE =
  "The built-in demo model answers: offline and by rules. " +
  "To connect a real model, set ANTHROPIC_API_KEY or OPENAI_API_KEY.";

export class DeveloperDetails {
  #root;
  #client;
  #options;
  #status;
  #back;
  #watch;

  /**
   * @param {ShadowRoot} root
   * @param {AgentClient} client
   * @param {Options} options
   * @param {Status} status
   * @param {AbortSignal} signal the end of the component
   * @param {() => void} back the server can be used again
   */
  constructor(root, client, options, status, signal, back) {
    this.#root = root;
    this.#client = client;
    this.#options = options;
    this.#status = status;
    this.#back = back;
    this.showAgent();
    this.#watch = new ServerWatch(client, signal, this.#onServer);
  }

  /** Show the agent's provider and model. */
  async showAgent() {
    try {
      const { agent } = this.#options.request("");
      const { provider, model } = await this.#client.metadata({ agent });
      byId(this.#root, "model").textContent = `${provider} · ${model}`;
      this.#showNotice(provider === "demo" ? DEMO_NOTICE : "");
    } catch (/** @type {any} */ error) {
      this.#showNotice(`The model is unknown. ${error.message}`);
    }
  }

  /** Check the server now instead of at the next interval. */
  checkServer() {
    this.#watch.check();
  }

  #onServer = (/** @type {import("./status.js").ServerState} */ state) => {
    const back = state === "ready" && this.#status.server !== "ready";
    this.#status.server = state;
    if (!back) return;
    this.showAgent();
    this.#back();
  };

  /** @param {string} text */
  #showNotice(text) {
    const notice = byId(this.#root, "notice");
    notice.textContent = text;
    notice.hidden = !text;
  }
}
