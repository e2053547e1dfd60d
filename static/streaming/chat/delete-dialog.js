/** The dialog that confirms the deletion of a conversation. */

import { byId } from "./dom.js";

/**
 * Ask for confirmation; resolve to true if the user confirms.
 *
 * @param {ShadowRoot} root
 * @param {import("./language.js").Language} language
 * @param {string} title
 * @returns {Promise<boolean>}
 */
export function confirmDelete(root, language, title) {
  /** @type {HTMLDialogElement} */
  const dialog = byId(root, "confirm");
  byId(root, "confirm-text").textContent = language.text("deleteText", { title });
  dialog.returnValue = "";
  byId(root, "confirm-no").onclick = () => dialog.close();
  byId(root, "confirm-yes").onclick = () => dialog.close("yes");
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
  });
}
