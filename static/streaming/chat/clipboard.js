/** Buttons that copy text to the clipboard. */

import { element } from "./dom.js";
import { icon } from "./icons.js";
import { english } from "./language.js";

const CONFIRMED_MS = 1500;

/**
 * Return a button that copies the current value of `textOf` and shows the outcome.
 *
 * @param {string} label
 * @param {() => string | Promise<string>} textOf
 * @param {{iconName?: string, language?: import("./language.js").Language}} [options]
 */
export function copyButton(label, textOf, { iconName = "copy", language = english } = {}) {
  const caption = element("span", "", label);
  const button = element("button", "tool-button", icon(iconName), caption);
  button.type = "button";
  let timer = 0;
  const show = (/** @type {string} */ state, /** @type {string} */ text) => {
    button.dataset.state = state;
    button.firstChild?.replaceWith(icon(state === "copied" ? "done" : iconName));
    caption.textContent = text;
  };
  button.addEventListener("click", async () => {
    const copied = await copy(await textOf(), button);
    show(copied ? "copied" : "refused", language.text(copied ? "copied" : "notAllowed"));
    clearTimeout(timer);
    timer = setTimeout(() => show("", label), CONFIRMED_MS);
  });
  return button;
}

/**
 * @param {string} text
 * @param {HTMLElement} button
 * @returns {Promise<boolean>} true if the browser allowed it
 */
async function copy(text, button) {
  // Without TLS, except on localhost, only the deprecated API is available.
  if (!navigator.clipboard) return copyBySelecting(text, button);
  return navigator.clipboard.writeText(text).then(
    () => true,
    () => copyBySelecting(text, button),
  );
}

/**
 * @param {string} text
 * @param {HTMLElement} button the field is placed beside it: a modal dialog excludes the rest
 */
function copyBySelecting(text, button) {
  const field = element("textarea", "visually-hidden");
  field.value = text;
  button.after(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  button.focus();
  return copied;
}
