/**
 * What the page remembers of a person, in this browser or in this tab. A browser that
 * forbids it has a page that forgets.
 */

const PREFIX = "agent.";

/** @param {string} key */
export function recall(key) {
  return read(() => localStorage, key);
}

/**
 * Without a value, forget.
 *
 * @param {string} key
 * @param {string} value
 */
export function remember(key, value) {
  write(() => localStorage, key, value);
}

/**
 * The same, until the tab is closed.
 *
 * @param {string} key
 */
export function recallInTab(key) {
  return read(() => sessionStorage, key);
}

/**
 * @param {string} key
 * @param {string} value
 */
export function rememberInTab(key, value) {
  write(() => sessionStorage, key, value);
}

/**
 * @param {() => Storage} storage
 * @param {string} key
 */
function read(storage, key) {
  try {
    return storage().getItem(PREFIX + key) ?? "";
  } catch {
    return "";
  }
}

/**
 * @param {() => Storage} storage
 * @param {string} key
 * @param {string} value
 */
function write(storage, key, value) {
  try {
    if (value) storage().setItem(PREFIX + key, value);
    else storage().removeItem(PREFIX + key);
  } catch {
    // full or forbidden: then it is not remembered
  }
}
