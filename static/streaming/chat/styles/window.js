/** The window of the component in its layouts: the chat, and the conversations. */

import { sheet } from "./sheet.js";

export const layout = sheet(`
/* The host page places the element; these it cannot override by accident. */

:host {
  display: block !important;
}

:host([hidden]) {
  display: none !important;
}

.root[data-layout="inline"] {
  height: var(--agent-chat-height, min(40rem, 90dvh));
  overflow: hidden;
  border: 1px solid var(--line);
  border-radius: var(--radius);
}

.root[data-layout="page"] {
  height: 100dvh;
}

/* The window: conversations and chat. */

.window {
  position: relative;
  display: grid;
  grid-template-columns: auto minmax(0, 1fr);
  grid-template-rows: minmax(0, 1fr);
  height: 100%;
}

.sidebar {
  width: 17.5rem;
  border-inline-end: 1px solid var(--line);
}

.window[data-sidebar="open"] .sidebar {
  display: flex;
}

.sidebar[aria-modal] {
  inset-inline-start: 0;
  --from: -2rem;
}

.root[dir="rtl"] .sidebar[aria-modal] {
  --from: 2rem;
}

.root[dir="rtl"] .directed {
  transform: scaleX(-1);
}

.skip-link {
  position: absolute;
  z-index: 2;
  inset-block-start: 0.5rem;
  inset-inline-start: 0.5rem;
  padding: 0.5rem 0.75rem;
  border-radius: 0.5rem;
  background: var(--surface);
  box-shadow: var(--shadow);
}

.pane[aria-modal] .skip-link {
  display: none;
}

.skip-link:not(:focus) {
  transform: translateY(-200%);
}

/* The chat */

.chat {
  display: flex;
  flex-direction: column;
  min-width: 0;
  min-height: 0;
  container: chat / inline-size;
  grid-column: 2;
}

.bar {
  display: flex;
  flex: none;
  align-items: center;
  gap: 0.625rem;
  min-height: 3.25rem;
  padding: 0.375rem 0.75rem;
}

.bar .heading {
  overflow: hidden;
  font-weight: 650;
  font-size: 1rem;
  line-height: 1.3;
  text-overflow: ellipsis;
  white-space: nowrap;
}

.model {
  flex: 1;
  min-width: 0;
  overflow: hidden;
  color: var(--muted);
  font: var(--small) / 1.5 var(--mono);
  text-overflow: ellipsis;
  white-space: nowrap;
}

.conversation {
  position: relative;
  display: flex;
  flex: 1;
  flex-direction: column;
  min-height: 0;
  padding-inline: var(--gutter);
  --gutter: 1rem;
}

.conversation > :where(:not(.visually-hidden)) {
  width: 100%;
  max-width: 48rem;
  margin-inline: auto;
}

/* Scrolls at its full width, so that the wheel also works beside the text. */
.conversation > .transcript {
  flex: 1;
  width: auto;
  min-height: 0;
  max-width: none;
  margin-inline: calc(-1 * var(--gutter));
  padding-inline: calc(var(--gutter) + max(0px, (100% - 48rem) / 2));
  overflow-y: auto;
}

.conversation > .transcript:focus-visible {
  outline-offset: -2px;
}

/* Before the first prompt */

.intro {
  display: flex;
  flex: 1;
  flex-direction: column;
  gap: 0.375rem;
  min-height: 0;
  padding-block: 1rem;
  overflow-y: auto;
  color: var(--muted);
  text-align: center;
  text-wrap: balance;
}

.intro::before,
.intro::after {
  flex: 1;
  content: "";
}

.intro-title {
  color: var(--ink);
  font-size: clamp(1.25rem, 1rem + 1.5cqi, 1.625rem);
  font-weight: 600;
  letter-spacing: -0.015em;
  line-height: 1.3;
}

.transcript:not(:empty) ~ .intro {
  display: none;
}

.notice {
  padding: 0.5rem 0.75rem;
  font-size: var(--small);
  overflow-wrap: anywhere;
}

.examples {
  display: grid;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr));
  gap: 0.625rem;
  padding: 1.5rem 2px 0.5rem;
}

.examples button {
  flex-direction: column;
  align-items: start;
  justify-content: start;
  gap: 0.125rem;
  width: 100%;
  height: 100%;
  padding: 0.6875rem 0.875rem;
  border-color: var(--line);
  border-radius: var(--radius);
  color: var(--ink);
  font-weight: 400;
  line-height: 1.45;
  text-align: start;
}

.examples button:hover {
  border-color: var(--accent);
}

.example-kind {
  color: var(--accent);
  font-size: 0.75rem;
  font-weight: 600;
}

/* The composer */

.composer {
  container-type: inline-size;
  flex: none;
  margin-block: 0.25rem 1rem;
  padding: 0.25rem;
  border: 1px solid var(--line-strong);
  border-radius: 1.125rem;
  background: var(--surface);
  box-shadow: var(--shadow);
}

.composer:focus-within {
  border-color: var(--accent);
}

.composer:has(textarea:focus-visible) {
  outline: 1px solid var(--accent);
  outline-offset: -1px;
}

.composer textarea {
  display: block;
  width: 100%;
  min-height: 2.75rem;
  max-height: min(14rem, 40dvh);
  padding: 0.625rem 0.75rem;
  border: 0;
  outline: 0;
  background: none;
  line-height: 1.5;
  resize: none;
  field-sizing: content;
}

.composer-bar {
  display: flex;
  align-items: center;
  gap: 0.5rem;
  padding: 0.125rem 0.25rem 0.25rem 0.75rem;
}

.hint,
.root:not([data-details]) .status:is([data-state="ready"], [data-state="completed"]),
.root:not([data-details]) :is(#pause, #clear) {
  display: none;
}

.composer-bar .icon {
  width: 1.125rem;
  height: 1.125rem;
}

/* Status of the run */

.status {
  display: flex;
  flex: 0 1 auto;
  align-items: center;
  gap: 0.5rem;
  min-width: 0;
  color: var(--muted);
  font-size: var(--small);
  font-variant-numeric: tabular-nums;
  line-height: 1.35;
}

.status::before {
  flex: none;
  width: 0.5rem;
  height: 0.5rem;
  border-radius: 50%;
  background: var(--dot, var(--line-strong));
  content: "";
}

.status:is([data-state="connecting"], [data-state="streaming"], [data-state="reconnecting"])::before {
  animation: breathe 1.6s ease-in-out infinite;
}

.status:is([data-state="connecting"], [data-state="streaming"], [data-state="completed"]) {
  --dot: var(--accent);
}

.status:is([data-state="paused"], [data-state="reconnecting"], [data-state="stopped"], [data-state="draining"]) {
  --dot: var(--amber);
}

.status:is([data-state="error"], [data-state="offline"]) {
  --dot: var(--red);
}

/* Commands are aligned to the right, with or without text on the left. */
.composer-bar > .hint {
  flex: 1;
}

.composer-bar > .commands {
  display: flex;
  gap: 0.5rem;
  margin-inline-start: auto;
}

@container chat (min-width: 48rem) {
  .conversation {
    --gutter: 1.5rem;
  }
}

@container (min-width: 37rem) {
  .hint {
    display: block;
    color: var(--muted);
    font-size: 0.75rem;
    text-align: end;
    white-space: nowrap;
  }

  /* Hidden while a run is active or the server is offline: the status needs the space. */
  .composer-bar:has(#stop:not([hidden]), #retry:not([hidden])) .hint {
    display: none;
  }
}

@container (max-width: 24rem) {
  #pause span,
  .commands:has(#stop:not([hidden]) ~ #start:not([hidden])) #clear {
    display: none;
  }

  /* Only the icon is visible beside Stop. */
  #stop:not([hidden]) ~ #start span {
    position: absolute;
    overflow: hidden;
    clip-path: inset(50%);
  }
}

/* The status and button of a lost connection have a line of their own. */
@container (max-width: 34rem) {
  .composer-bar:has(#retry:not([hidden])) {
    flex-wrap: wrap;

    & .status {
      flex: 1 0 calc(100% - 6.5rem);
    }

    & #retry {
      margin-inline-end: 0.5rem;
    }

    & #pause span {
      display: inline;
    }
  }
}

@media (pointer: coarse) {
  .composer-bar button,
  button.icon-button {
    min-width: 2.75rem;
    min-height: 2.75rem;
  }
}

/* Too low for a fixed composer, as at 400 % zoom or with a phone on its side: the whole
   page scrolls. */

@media (max-height: 26rem) {
  .root[data-layout="page"] {
    height: auto;
    min-height: 100dvh;

    & .window {
      min-height: 100dvh;
    }

    & :is(.conversation > .transcript, .intro) {
      overflow-y: visible;
    }

    & .pane {
      position: sticky;
      inset-block-start: 0;
      height: 100dvh;
    }
  }
}

/* The user's conversations. */

.sidebar-head {
  display: flex;
  flex: none;
  align-items: center;
  gap: 0.625rem;
  min-height: 3.25rem;
  padding-block: 0.375rem;
  padding-inline: 1rem 0.75rem;
}

.sidebar-head h2 {
  flex: 1;
  font-size: 0.9375rem;
}

.new-conversation {
  justify-content: start;
  margin: 0.25rem 0.75rem 0.5rem;
  padding-inline: 0.625rem;
  border-color: var(--line);
}

.search {
  position: relative;
  flex: none;
  margin-inline: 0.75rem;
}

.search .icon {
  position: absolute;
  top: 50%;
  inset-inline-start: 0.625rem;
  width: 1.125rem;
  height: 1.125rem;
  color: var(--muted);
  pointer-events: none;
  transform: translateY(-50%);
}

.search input[type="search"] {
  padding-inline-start: 2.25rem;
  border-color: transparent;
  background: var(--code);
}

.conversations {
  flex: 1;
  min-height: 0;
  padding: 0.5rem 0.75rem;
  overflow-y: auto;
}

.conversations-note {
  padding: 0.75rem 0.625rem;
  color: var(--muted);
  font-size: var(--small);
}

.conversation-row {
  position: relative;
  display: flex;
  align-items: center;
  border-radius: 0.625rem;
}

.conversation-row:hover,
.conversation-row:has(:focus-visible) {
  background: var(--code);
}

.conversation-row:has([aria-current]) {
  background: var(--accent-soft);
}

.conversation-row a {
  flex: 1;
  min-width: 0;
  padding: 0.4375rem 0.625rem;
  border-radius: inherit;
  text-decoration: none;
}

.conversation-title {
  display: block;
  unicode-bidi: plaintext;
  overflow: hidden;
  font-size: 0.875rem;
  line-height: 1.4;
  text-overflow: ellipsis;
  white-space: nowrap;
}

.conversation-row time {
  display: flex;
  align-items: center;
  gap: 0.375rem;
  color: var(--muted);
  font-size: 0.75rem;
  line-height: 1.4;
}

.conversation-row[data-active] time::before {
  width: 0.4375rem;
  height: 0.4375rem;
  border-radius: 50%;
  background: var(--accent);
  animation: breathe 1.6s ease-in-out infinite;
  content: "";
}

.conversation-row .editor {
  flex: 1;
  padding: 0.375rem;
}

.conversation-row button.icon-button {
  width: 2rem;
  min-width: 2rem;
  min-height: 2rem;
  margin-inline-end: 0.25rem;
}

.conversation-row button .icon {
  width: 1.0625rem;
  height: 1.0625rem;
}

/* Visible while the row is hovered or has the keyboard focus. */
@media (hover: hover) {
  .conversation-row > button {
    position: absolute;
    inset-inline-end: 0;
  }

  .conversation-row > .rename {
    inset-inline-end: 2rem;
  }

  .conversation-row:not(:hover, :focus-within) button {
    opacity: 0;
  }

  .conversation-row:is(:hover, :focus-within) a {
    padding-inline-end: 4.5rem;
  }
}

#more {
  width: 100%;
}

.sidebar-foot {
  flex: none;
  padding: 0.5rem 0.75rem 0.75rem;
  border-top: 1px solid var(--line);
}
`);
