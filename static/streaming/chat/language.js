/** A language: its texts, numbers, durations and times. */

import { english as ENGLISH } from "./texts/english.js";

/** @typedef {import("./texts/english.js").Texts} Texts */
/** @import { TextKey } from "./texts/english.js" */

const RIGHT_TO_LEFT = new Set(["ar", "ckb", "dv", "fa", "he", "ku", "ps", "sd", "ug", "ur", "yi"]);
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

export class Language {
  #texts;
  #numbers;
  #plurals;

  /**
   * @param {string} tag a language tag, such as "de-AT"
   * @param {Texts} [texts] those that are not in English
   */
  constructor(tag, texts = {}) {
    this.tag = tag;
    this.#texts = { ...ENGLISH, ...texts };
    this.#numbers = new Intl.NumberFormat(tag);
    this.#plurals = new Intl.PluralRules(tag);
  }

  /** The direction of its script. */
  get direction() {
    return RIGHT_TO_LEFT.has(this.tag.split("-")[0].toLowerCase()) ? "rtl" : "ltr";
  }

  /**
   * Return a text with its values. `count` selects the plural and is written as a number.
   *
   * @param {TextKey} key
   * @param {Record<string, string | number>} [values]
   */
  text(key, values = {}) {
    const text = /** @type {import("./texts/english.js").Text} */ (this.#texts[key]);
    const plural = this.#plurals.select(Number(values.count ?? 0));
    const form = typeof text === "string" ? text : (text[plural] ?? text.other);
    return form.replace(/\{(\w+)\}/g, (whole, name) => {
      const value = values[name];
      if (value === undefined) return whole;
      const written = typeof value === "number" ? this.number(value) : value;
      return this.direction === "rtl" ? isolated(written) : written;
    });
  }

  /** @param {number} value */
  number(value) {
    return this.#numbers.format(value);
  }

  /** @param {number} ms */
  milliseconds(ms) {
    return `${this.number(Math.round(ms))} ms`;
  }

  /** @param {number} ms */
  duration(ms) {
    if (ms < SECOND) return this.milliseconds(ms);
    return `${(ms / SECOND).toFixed(ms < 10 * SECOND ? 1 : 0)} s`;
  }

  /**
   * Format whole seconds, for a running timer.
   *
   * @param {number} ms
   */
  seconds(ms) {
    return `${this.number(Math.floor(ms / SECOND))} s`;
  }

  /**
   * Format the length of a wait, as "5 s", "3 min" or "2 h".
   *
   * @param {number} ms
   */
  wait(ms) {
    if (ms < 2 * MINUTE) return `${this.number(Math.max(0, Math.ceil(ms / SECOND)))} s`;
    if (ms < 2 * HOUR) return `${this.number(Math.ceil(ms / MINUTE))} min`;
    return `${this.number(Math.ceil(ms / HOUR))} h`;
  }

  /**
   * Format a count in English, as in "1 event" and "2 events".
   *
   * @param {number} things
   * @param {string} noun
   */
  count(things, noun) {
    return `${this.number(things)} ${noun}${things === 1 ? "" : "s"}`;
  }

  /**
   * Format a time as "5 minutes ago", "yesterday" or "Nov 3, 2026".
   *
   * @param {Date} time
   * @param {number} [now]
   */
  relativeTime(time, now = Date.now()) {
    const relative = new Intl.RelativeTimeFormat(this.tag, { numeric: "auto" });
    const ms = now - time.getTime();
    if (ms < MINUTE) return this.text("justNow");
    if (ms < HOUR) return relative.format(-Math.floor(ms / MINUTE), "minute");
    if (ms < DAY) return relative.format(-Math.floor(ms / HOUR), "hour");
    if (ms < 7 * DAY) return relative.format(-Math.floor(ms / DAY), "day");
    return new Intl.DateTimeFormat(this.tag, { dateStyle: "medium" }).format(time);
  }
}

/**
 * Give a text the direction of its first letter, and none to the text around it.
 *
 * @param {string} text
 */
function isolated(text) {
  return `\u2068${text}\u2069`;
}

/** The language of developers' tools, and of a component until its own is loaded. */
export const english = new Language("en");

/** The modules of the other languages, each loaded when a component uses it. */
const MODULES = {
  ar: () => import("./texts/arabic.js"),
  de: () => import("./texts/german.js"),
};

/**
 * Return a language. Texts that it lacks are in English.
 *
 * @param {string} tag
 * @param {Texts} [own] texts of the host page, which replace the component's
 */
export async function loadLanguage(tag, own = {}) {
  const known = isLanguage(tag) ? tag : english.tag;
  const name = /** @type {keyof typeof MODULES} */ (known.split("-")[0].toLowerCase());
  const module = name in MODULES ? await MODULES[name]().catch(() => undefined) : undefined;
  return new Language(known, { ...module?.texts, ...own });
}

/** @param {string} tag */
function isLanguage(tag) {
  try {
    return Intl.getCanonicalLocales(tag).length > 0;
  } catch {
    return false;
  }
}
