/** The dialog that confirms the deletion of a conversation. */

import { byId } from "./dom.js";

/**
 * Ask for confirmation; resolve to true if the user confirms.
 *
 * @param {string} title
 * @returns {Promise<boolean>}
 */
export function confirmDelete(title) {
  /** @type {HTMLDialogElement} */
  const dialog = byId("confirm");
  byId("confirm-text").textContent = `“${title}” is deleted with its messages, runs and events.`;
  dialog.returnValue = "";
  byId("confirm-no").onclick = () => dialog.close();
  byId("confirm-yes").onclick = () => dialog.close("yes");
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
  });
}
