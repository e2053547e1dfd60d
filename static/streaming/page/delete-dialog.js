/** A question that must be answered before the page goes on. */

import { byId } from "./dom.js";

/**
 * Whether a person really wants a conversation deleted.
 *
 * @param {string} title
 * @returns {Promise<boolean>}
 */
export function reallyDelete(title) {
  /** @type {HTMLDialogElement} */
  const dialog = byId("confirm");
  byId("confirm-text").textContent = `“${title}” goes with its messages, runs and events, for good.`;
  dialog.returnValue = "";
  byId("confirm-no").onclick = () => dialog.close();
  byId("confirm-yes").onclick = () => dialog.close("yes");
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
  });
}
