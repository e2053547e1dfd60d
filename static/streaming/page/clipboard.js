/** Copying, and the buttons that do it. */

import { element } from "./dom.js";
import { icon } from "./icons.js";

const CONFIRMED_MS = 1500;

/**
 * A button that copies what `textOf` says at that moment, and shows that it did.
 *
 * @param {string} label
 * @param {() => string} textOf
 * @param {string} [picture] the icon
 */
export function copyButton(label, textOf, picture = "copy") {
  const said = element("span", "", label);
  const button = element("button", "tool-button", icon(picture), said);
  button.type = "button";
  let timer = 0;
  const show = (/** @type {string} */ state, /** @type {string} */ text) => {
    button.dataset.state = state;
    button.firstChild?.replaceWith(icon(state === "copied" ? "done" : picture));
    said.textContent = text;
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
 * @returns {Promise<boolean>} whether the browser let us
 */
async function copy(text) {
  // Pages without TLS, but for localhost, have only the old way.
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
