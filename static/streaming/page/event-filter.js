/** Which types of events are shown: a switch for each that came, with their number. */

import { element } from "./dom.js";
import { number } from "./format.js";

export class EventFilter {
  element = element("div", "event-filter");
  #onChange;
  /** @type {Map<string, {number: Text, came: number, told: number}>} */
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

  /** One more came. @param {string} type */
  count(type) {
    const known = this.#switches.get(type) ?? this.#add(type);
    known.came += 1;
  }

  /** Tell how many have come. */
  draw() {
    for (const known of this.#switches.values()) {
      if (known.told === known.came) continue;
      known.told = known.came;
      known.number.data = number(known.came);
    }
  }

  /** None has come; what was hidden stays so. */
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
    const made = { number: shown, came: 0, told: 0 };
    this.#switches.set(type, made);
    return made;
  }
}
