/**
 * Values that the page keeps in the browser (`localStorage`) or in the tab
 * (`sessionStorage`). Where the browser forbids storage, nothing is kept.
 */

const PREFIX = "agent.";

/** @param {string} key */
export function load(key) {
  return read(() => localStorage, key);
}

/**
 * Save a value; an empty one removes the key.
 *
 * @param {string} key
 * @param {string} value
 */
export function save(key, value) {
  write(() => localStorage, key, value);
}

/**
 * Load a value that is kept until the tab is closed.
 *
 * @param {string} key
 */
export function loadFromTab(key) {
  return read(() => sessionStorage, key);
}

/**
 * @param {string} key
 * @param {string} value
 */
export function saveInTab(key, value) {
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
    // storage is full or forbidden: the value is not kept
  }
}
