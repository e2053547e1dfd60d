/** Switches that show or hide event types, with the number of received events. */

import { element } from "../chat/dom.js";
import { english } from "../chat/language.js";

export class EventFilter {
  element = element("div", "event-filter");
  #onChange;
  /** @type {Map<string, {number: Text, received: number, shown: number}>} */
  #switches = new Map();
  /** @type {Set<string>} */
  #hidden = new Set();

  /** @param {() => void} onChange */
  constructor(onChange) {
    this.#onChange = onChange;
    this.element.role = "group";
    this.element.ariaLabel = "Types of events shown";
  }

  /** @param {string} type */
  shows(type) {
    return !this.#hidden.has(type);
  }

  /** Count a received event. @param {string} type */
  count(type) {
    const known = this.#switches.get(type) ?? this.#add(type);
    known.received += 1;
  }

  /** Update the shown counts. */
  draw() {
    for (const known of this.#switches.values()) {
      if (known.shown === known.received) continue;
      known.shown = known.received;
      known.number.data = english.number(known.received);
    }
  }

  /** Reset the counts; hidden types stay hidden. */
  clear() {
    this.#switches.clear();
    this.element.replaceChildren();
  }

  /** @param {string} type */
  #add(type) {
    const shown = document.createTextNode("");
    const button = element("button", "event-switch", element("span", "", type), " ", shown);
    button.type = "button";
    button.dataset.type = type;
    button.ariaPressed = String(this.shows(type));
    button.addEventListener("click", () => {
      if (!this.#hidden.delete(type)) this.#hidden.add(type);
      button.ariaPressed = String(this.shows(type));
      this.#onChange();
    });
    this.element.append(button);
    const made = { number: shown, received: 0, shown: 0 };
    this.#switches.set(type, made);
    return made;
  }
}
