/** The page's URL and history. The URL names the conversation, so links and reloads open it. */

/**
 * A conversation of an organization, as the URL names it.
 *
 * @typedef {object} Place
 * @property {string} conversationId "" for a new one
 * @property {string} orgId "" for the default one
 */

/** @returns {Place} */
export function currentPlace() {
  const query = new URLSearchParams(location.search);
  return { conversationId: query.get("conversation") ?? "", orgId: query.get("org") ?? "" };
}

/** @param {Place} place */
export function urlFor({ conversationId, orgId }) {
  const query = new URLSearchParams();
  if (orgId) query.set("org", orgId);
  if (conversationId) query.set("conversation", conversationId);
  return query.size ? `?${query}` : location.pathname;
}

/**
 * Add a history entry for another place, so that the browser's "back" returns here.
 *
 * @param {Place} place
 */
export function navigate(place) {
  const link = urlFor(place);
  if (link !== urlFor(currentPlace())) history.pushState(null, "", link);
}

/**
 * Replace the URL of the current history entry.
 *
 * @param {Place} place
 */
export function replaceUrl(place) {
  history.replaceState(null, "", urlFor(place));
}
