/** JSON for people. */

const SHORT_JSON = 60;

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
