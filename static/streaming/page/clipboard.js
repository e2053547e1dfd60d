/** Buttons that copy text to the clipboard. */

import { element } from "./dom.js";
import { icon } from "./icons.js";

const CONFIRMED_MS = 1500;

/**
 * Return a button that copies the current value of `textOf` and shows the outcome.
 *
 * @param {string} label
 * @param {() => string} textOf
 * @param {string} [iconName]
 */
export function copyButton(label, textOf, iconName = "copy") {
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
    const copied = await copy(textOf());
    show(copied ? "copied" : "refused", copied ? "Copied" : "Not allowed");
    clearTimeout(timer);
    timer = setTimeout(() => show("", label), CONFIRMED_MS);
  });
  return button;
}

/**
 * @param {string} text
 * @returns {Promise<boolean>} true if the browser allowed it
 */
async function copy(text) {
  // Without TLS, except on localhost, only the deprecated API is available.
  if (!navigator.clipboard) return copyBySelecting(text);
  return navigator.clipboard.writeText(text).then(
    () => true,
    () => copyBySelecting(text),
  );
}

/** @param {string} text */
function copyBySelecting(text) {
  const focused = document.activeElement;
  const field = element("textarea", "visually-hidden");
  field.value = text;
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return copied;
}
