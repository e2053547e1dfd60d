/** The elements of a component, before it shows anything. */

import { part } from "./dom.js";
import { icon } from "./icons.js";

/** @import { Language } from "./language.js" */
/** @import { Options, Question } from "./options.js" */

/**
 * Return the root element of a component: its window, in a panel if it floats.
 *
 * @param {Options} options
 * @param {Language} language
 */
export function buildFrame(options, language) {
  const { layout, details, theme } = options;
  const { tag: lang, direction: dir } = language;
  const root = part("div", { class: "root", lang, dir, "data-layout": layout, "data-theme": theme });
  if (details) root.dataset.details = "";
  const heading = options.heading ?? options.agent ?? language.text("heading");
  const window = buildWindow(options, language, heading);
  if (layout !== "floating") root.append(window, confirmDialog(language));
  else {
    const panel = part("dialog", { id: "panel", class: "panel", "aria-label": heading }, window);
    root.append(launcher(language), panel, confirmDialog(language));
  }
  return root;
}

/**
 * @param {Options} options
 * @param {Language} language
 * @param {string} heading
 */
function buildWindow(options, language, heading) {
  const isPage = options.layout === "page";
  const window = part("div", { class: "window", "data-sidebar": "closed" });
  if (options.history) window.append(sidebar(language, isPage));
  const label = { id: "chat", class: "chat", "aria-label": heading };
  const chat = isPage ? part("main", label) : part("section", label);
  chat.append(bar(options, language, heading), conversation(options, language, isPage));
  const scrim = part("div", { id: "scrim", class: "scrim", hidden: true });
  const announcement = { id: "announcement", class: "visually-hidden", role: "status" };
  window.append(chat, scrim, part("p", announcement));
  return window;
}

/**
 * @param {Language} language
 * @param {boolean} isPage
 */
function sidebar(language, isPage) {
  const t = language.text.bind(language);
  const skip = { id: "skip", type: "button", class: "skip-link", hidden: !isPage };
  const head = part(
    "div",
    { class: "sidebar-head" },
    part("slot", { name: "logo" }),
    part("h2", {}, t("conversations")),
    iconButton("sidebar-close", t("closeConversations"), "close", "drawer-only"),
  );
  const search = {
    ...{ id: "search", type: "search", maxlength: 200, autocomplete: "off", spellcheck: "false" },
    ...{ "aria-label": t("searchConversations"), placeholder: t("search") },
  };
  const list = part(
    "div",
    { class: "conversations" },
    part("ul", { id: "conversations" }),
    part("p", { id: "conversations-note", class: "conversations-note", hidden: true }),
    part("button", { id: "more", type: "button", class: "quiet", hidden: true }, t("loadMore")),
  );
  return part(
    "div",
    { id: "sidebar", class: "pane sidebar", role: "navigation", "aria-label": t("conversations") },
    part("button", skip, t("skipToPrompt")),
    head,
    part(
      "button",
      { id: "new", type: "button", class: "new-conversation" },
      icon("new"),
      t("newConversation"),
    ),
    part("search", { class: "search" }, icon("search"), part("input", search)),
    list,
    part("div", { class: "sidebar-foot" }, part("slot", { name: "sidebar" })),
  );
}

/**
 * @param {Options} options
 * @param {Language} language
 * @param {string} heading
 */
function bar({ layout, history }, language, heading) {
  const t = language.text.bind(language);
  const shown = part("header", { class: "bar" });
  if (history) {
    const toggle = iconButton("sidebar-toggle", t("conversations"), "sidebar", "directed");
    toggle.setAttribute("aria-controls", "sidebar");
    toggle.setAttribute("aria-expanded", "false");
    shown.append(toggle);
  }
  const name = { id: "heading", class: "heading" };
  shown.append(
    layout === "page" ? part("h1", name, heading) : part("h2", name, heading),
    part("p", { id: "model", class: "model" }),
    part("slot", { name: "actions" }),
  );
  if (layout !== "page") shown.append(iconButton("renew", t("newConversation"), "new"));
  if (layout === "floating") shown.append(iconButton("close", t("close"), "close"));
  return shown;
}

/**
 * @param {Options} options
 * @param {Language} language
 * @param {boolean} isPage
 */
function conversation({ questions, intro, placeholder }, language, isPage) {
  const t = language.text.bind(language);
  const title = { id: "conversation-title", class: "visually-hidden" };
  const transcript = { id: "transcript", class: "transcript", tabindex: 0, "aria-label": t("transcript") };
  const level = isPage ? "h2" : "h3";
  const beginning = part(
    "div",
    { class: "intro" },
    part(level, { class: "intro-title" }, intro ?? t("intro")),
    part("slot", { name: "intro" }),
  );
  const examples = part("ul", { id: "examples", class: "examples", "aria-label": t("questions") });
  showQuestions(examples, questions);
  const notice = part("p", { id: "notice", class: "notice", role: "note", hidden: true });
  beginning.append(examples, notice);
  return part(
    "section",
    { id: "conversation", class: "conversation", "aria-labelledby": "conversation-title" },
    part(level, title, t("newConversation")),
    part("ol", transcript),
    beginning,
    composer(t, placeholder ?? t("placeholder")),
  );
}

/**
 * Show opening questions in a list, or hide it without any.
 *
 * @param {HTMLElement} list
 * @param {Question[]} questions
 */
export function showQuestions(list, questions) {
  list.hidden = !questions.length;
  const items = questions.map(({ title, prompt }) => {
    const button = part("button", { type: "button" });
    if (title) button.append(part("span", { class: "example-kind" }, title), " ");
    button.append(part("span", { class: "example-prompt", dir: "auto" }, prompt));
    return part("li", {}, button);
  });
  list.replaceChildren(...items);
}

/**
 * @param {Language["text"]} t
 * @param {string} placeholder
 */
function composer(t, placeholder) {
  const prompt = {
    ...{ id: "prompt", name: "input", dir: "auto", rows: 1, required: true, placeholder },
    ...{ enterkeyhint: "send", "aria-describedby": "keys" },
  };
  const commands = part(
    "div",
    { class: "commands" },
    part("button", { id: "clear", type: "button", class: "quiet", title: t("clearTitle") }, t("clear")),
    part("button", { id: "pause", type: "button", hidden: true }, icon("pause"), part("span", {}, t("pause"))),
    part("button", { id: "stop", type: "button", hidden: true }, icon("stop"), part("span", {}, t("stop"))),
    part("button", { id: "start", type: "submit", class: "primary" }, part("span", {}, t("send")), icon("send")),
  );
  return part(
    "form",
    { id: "composer", class: "composer", autocomplete: "off" },
    part("label", { for: "prompt", class: "visually-hidden" }, t("prompt")),
    part("textarea", prompt),
    part(
      "div",
      { class: "composer-bar" },
      part("p", { id: "status", class: "status", "data-state": "ready" }, t("ready")),
      part("button", { id: "retry", type: "button", class: "link", hidden: true }, t("retryNow")),
      part("p", { id: "keys", class: "hint" }, t("keys")),
      commands,
    ),
  );
}

/** @param {Language} language */
function launcher(language) {
  const label = language.text("open");
  const button = { id: "launcher", type: "button", class: "launcher", "aria-label": label };
  return part("button", { ...button, title: label, "aria-expanded": "false", "aria-haspopup": "dialog" }, icon("chat"));
}

/** @param {Language} language */
function confirmDialog(language) {
  const t = language.text.bind(language);
  const labels = { "aria-labelledby": "confirm-title", "aria-describedby": "confirm-text" };
  return part(
    "dialog",
    { id: "confirm", class: "dialog", role: "alertdialog", ...labels },
    part("h2", { id: "confirm-title" }, t("deleteQuestion")),
    part("p", { id: "confirm-text" }),
    part(
      "footer",
      {},
      part("button", { id: "confirm-no", type: "button", class: "quiet" }, t("cancel")),
      part("button", { id: "confirm-yes", type: "button", class: "danger" }, t("delete")),
    ),
  );
}

/**
 * @param {string} id
 * @param {string} label
 * @param {string} name of the icon
 * @param {string} [more] further classes
 */
function iconButton(id, label, name, more = "") {
  const named = { id, type: "button", "aria-label": label, title: label };
  return part("button", { ...named, class: `icon-button ${more}`.trim() }, icon(name));
}
