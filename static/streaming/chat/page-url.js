/** The page's URL and history. The URL names the conversation, so links and reloads open it. */

const PARAMETER = "conversation";

/** Return the conversation that the URL names, "" for a new one. */
export function conversationInUrl() {
  return new URLSearchParams(location.search).get(PARAMETER) ?? "";
}

/**
 * Return this page's URL with another conversation. Other parameters, which belong to the
 * host page, remain.
 *
 * @param {string} conversationId "" for a new one
 */
export function urlFor(conversationId) {
  const query = new URLSearchParams(location.search);
  if (conversationId) query.set(PARAMETER, conversationId);
  else query.delete(PARAMETER);
  return query.size ? `?${query}` : location.pathname;
}

/**
 * Add a history entry for another conversation, so that the browser's "back" returns here.
 *
 * @param {string} conversationId
 */
export function navigate(conversationId) {
  if (conversationId === conversationInUrl()) return;
  history.pushState(null, "", urlFor(conversationId));
}

/**
 * Replace the URL of the current history entry.
 *
 * @param {string} conversationId
 */
export function replaceUrl(conversationId) {
  history.replaceState(history.state, "", urlFor(conversationId));
}
