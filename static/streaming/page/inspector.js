/** The pane with the figures, the timeline and the events of a chat's run. */

import { EventLog } from "./event-log.js";
import { RunMeters } from "./run-meters.js";
import { eventLog } from "./styles/event-log.js";
import { runMeters } from "./styles/run-meters.js";

export class Inspector {
  #log;
  #meters = new RunMeters();

  /**
   * @param {HTMLElement} list of the events
   * @param {HTMLElement} counter
   */
  constructor(list, counter) {
    document.adoptedStyleSheets.push(eventLog, runMeters);
    list.before(this.#meters.element);
    this.#log = new EventLog(list, counter);
  }

  /** Show an event of the element. @param {CustomEvent} event */
  receive({ type, detail }) {
    if (type === "agent-chat:event") {
      this.#log.add(detail.event);
      this.#meters.receive(detail.event);
    } else if (type === "agent-chat:start") {
      this.#log.begin();
      this.#meters.begin();
    } else if (type === "agent-chat:end") {
      this.#meters.end();
    } else if (type === "agent-chat:clear") {
      this.#log.clear();
      this.#meters.clear();
    }
  }
}
