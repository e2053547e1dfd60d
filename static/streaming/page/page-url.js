/** The page's address: it names the conversation, so that a link or a reload opens it. */

/**
 * @typedef {object} Place
 * @property {string} conversationId "" for a new one
 * @property {string} orgId "" for the default one
 */

/** @returns {Place} */
export function here() {
  const query = new URLSearchParams(location.search);
  return { conversationId: query.get("conversation") ?? "", orgId: query.get("org") ?? "" };
}

/** @param {Place} place */
export function linkTo({ conversationId, orgId }) {
  const query = new URLSearchParams();
  if (orgId) query.set("org", orgId);
  if (conversationId) query.set("conversation", conversationId);
  return query.size ? `?${query}` : location.pathname;
}

/**
 * Somewhere else; the browser's "back" leads to where we were.
 *
 * @param {Place} place
 */
export function go(place) {
  const link = linkTo(place);
  if (link !== linkTo(here())) history.pushState(null, "", link);
}

/**
 * The same place, under its better name.
 *
 * @param {Place} place
 */
export function rename(place) {
  history.replaceState(null, "", linkTo(place));
}
