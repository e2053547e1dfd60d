/** Sentences for errors, and ways to go on. Developers see the server's own sentences. */

import { element } from "./dom.js";

/** @import { Language } from "./language.js" */
/** @import { TextKey } from "./texts/english.js" */
/** @typedef {{message: string, code?: string, retryAfter?: number}} Failure */

/** @type {Record<string, TextKey>} */
const SENTENCES = {
  unauthenticated: "signedOut",
  forbidden: "forbidden",
  rate_limited: "limited",
  too_many_streams: "limited",
  provider_rate_limited: "unavailable",
  budget_exhausted: "budget",
  conversation_busy: "busyConversation",
  context_too_long: "tooLong",
  body_too_large: "tooLong",
  interrupted: "interrupted",
  unreachable: "unreachable",
  connection_lost: "unreachable",
  unexpected_answer: "unavailable",
  shutting_down: "unavailable",
  database_unavailable: "unavailable",
  internal_error: "unavailable",
  provider_error: "modelFailed",
  provider_refused_key: "modelFailed",
  provider_timeout: "modelFailed",
  provider_incomplete: "modelFailed",
};

/**
 * @param {Failure} error
 * @param {Language} language
 * @param {boolean} details true for the server's own sentence
 */
export function sentenceOf({ message, code = "", retryAfter }, language, details) {
  const key = SENTENCES[code];
  if (details || !key) return message;
  const seconds = retryAfter ?? 0;
  const time = seconds ? language.wait(seconds * 1000) : language.text("laterUnknown");
  return language.text(key, { time });
}

/** Return the URL of a login that returns to this page, if it has `next`. @param {string} url */
function returning(url) {
  const login = new URL(url, location.href);
  const here = location.pathname + location.search;
  if (login.searchParams.has("next")) login.searchParams.set("next", here);
  return login;
}

/**
 * Return the buttons with which the user can go on after an error.
 *
 * @param {{status?: number, code?: string}} error
 * @param {import("./options.js").Options} options
 * @param {Language} language
 * @param {() => void} [act] repeats what failed, or joins the run that occupies the conversation
 */
export function waysOn({ status, code }, { signInUrl }, language, act) {
  /** @type {[TextKey, () => void][]} */
  const ways = [];
  const isSignedOut = status === 401 || code === "unauthenticated";
  if (isSignedOut && signInUrl) ways.push(["signIn", () => location.assign(returning(signInUrl))]);
  if (status === 403) ways.push(["reload", () => location.reload()]);
  if (act) ways.push([code === "conversation_busy" ? "joinRun" : "tryAgain", act]);
  return ways.map(([key, way]) => {
    const button = element("button", "", language.text(key));
    button.type = "button";
    button.addEventListener("click", way);
    return button;
  });
}
