/** The pane with the run's figures, timeline and events. */

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

  /** Start with the first event of a run or of its replay. */
  begin() {
    this.#log.begin();
    this.#meters.begin();
  }

  /** @param {AgentEvent} event */
  add(event) {
    this.#log.add(event);
    this.#meters.receive(event);
  }

  /** Stop after the run's last event. */
  end() {
    this.#meters.end();
  }

  clear() {
    this.#log.clear();
    this.#meters.clear();
  }
}
