/** Formatting of numbers, durations and JSON. */

const numbers = new Intl.NumberFormat("en");
const SHORT_JSON = 60;

/** @param {number} value */
export function number(value) {
  return numbers.format(value);
}

/** @param {number} ms */
export function milliseconds(ms) {
  return `${number(Math.round(ms))} ms`;
}

/** @param {number} ms */
export function duration(ms) {
  if (ms < 1000) return milliseconds(ms);
  return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
}

/**
 * Format whole seconds, for a running timer.
 *
 * @param {number} ms
 */
export function seconds(ms) {
  return `${number(Math.floor(ms / 1000))} s`;
}

/**
 * Format a count, as in "1 tool call" and "2 tool calls".
 *
 * @param {number} things
 * @param {string} noun
 */
export function count(things, noun) {
  return `${number(things)} ${noun}${things === 1 ? "" : "s"}`;
}

/** @param {unknown} value */
export function prettyJson(value) {
  const short = JSON.stringify(value);
  return short.length <= SHORT_JSON ? short : JSON.stringify(value, null, 2);
}

/**
 * Indent JSON text, or return it unchanged if parsing would alter a value.
 *
 * @param {string} text
 */
export function prettyJsonText(text) {
  try {
    const value = JSON.parse(text);
    return JSON.stringify(value) === text ? prettyJson(value) : text;
  } catch {
    return text;
  }
}
