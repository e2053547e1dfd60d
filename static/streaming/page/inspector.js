/** Beside the conversation: the run in numbers, drawn, and event by event. */

import { EventLog } from "./event-log.js";
import { RunMeters } from "./run-meters.js";

/** @typedef {import("../client/agent-client.js").AgentEvent} AgentEvent */

export class Inspector {
  #log;
  #meters = new RunMeters();

  /**
   * @param {HTMLElement} list of the events
   * @param {HTMLElement} counter
   */
  constructor(list, counter) {
    list.before(this.#meters.element);
    this.#log = new EventLog(list, counter);
  }

  /** A run begins, or is read again from its beginning. */
  begin() {
    this.#log.begin();
    this.#meters.begin();
  }

  /** @param {AgentEvent} event */
  add(event) {
    this.#log.add(event);
    this.#meters.receive(event);
  }

  /** Nothing more will come of this run. */
  end() {
    this.#meters.end();
  }

  clear() {
    this.#log.clear();
    this.#meters.clear();
  }
}
