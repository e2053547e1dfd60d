/** Colours, type, controls, panes and dialogs. */

import { sheet } from "./sheet.js";

export const base = sheet(`
/* The root of a component, and the body of a page of ours. Nothing is inherited from the
   host page but the direction and the public properties, which begin with --agent-chat. */

.root {
  all: initial;
  display: block;
  box-sizing: border-box;
  color-scheme: light dark;
  --agent-chat-rem: 1em;
  --ground: var(--agent-chat-background, light-dark(#ffffff, #15181d));
  --side: var(--agent-chat-side-background, light-dark(#f6f7f9, #101317));
  --surface: var(--agent-chat-surface, light-dark(#ffffff, #1c2026));
  --sunken: var(--agent-chat-sunken, light-dark(#f2f4f6, #111418));
  --code: var(--agent-chat-code-background, light-dark(#eceff3, #262c35));
  --line: var(--agent-chat-line, light-dark(#e1e5ea, #2b323b));
  --line-strong: var(--agent-chat-line-strong, light-dark(#858f9d, #707b8a));
  --ink: var(--agent-chat-text, light-dark(#19212c, #e6e9ee));
  --muted: var(--agent-chat-muted, light-dark(#55606f, #a0aab7));
  --accent: var(--agent-chat-accent, light-dark(#0f6b61, #5cc9b6));
  --on-accent: var(--agent-chat-on-accent, light-dark(#ffffff, #06231f));
  --accent-soft: var(--agent-chat-accent-soft, light-dark(#e6f2f0, #17302d));
  --red: var(--agent-chat-error, light-dark(#b3261e, #ff938a));
  --red-soft: var(--agent-chat-error-soft, light-dark(#fcecea, #351d1e));
  --blue: light-dark(#2459b8, #85b2ff);
  --violet: light-dark(#6a45b0, #bda0f7);
  --amber: light-dark(#8a5700, #e6b45c);
  --veil: light-dark(rgb(20 28 40 / 35%), rgb(0 0 0 / 60%));
  --shade: light-dark(rgb(20 30 45 / 7%), rgb(0 0 0 / 35%));
  --shadow: 0 1px 2px var(--shade), 0 6px 24px var(--shade);
  --sans: var(--agent-chat-font, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif);
  --mono: var(--agent-chat-mono-font, ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "Liberation Mono", monospace);
  --small: 0.8125rem;
  --radius: var(--agent-chat-radius, 0.75rem);
  background: var(--ground);
  color: var(--ink);
  /* Medium is the size that the user has chosen in the browser. */
  font: var(--agent-chat-font-size, medium) / 1.6 var(--sans);
  -webkit-text-size-adjust: 100%;
  text-size-adjust: 100%;
}

.root[data-theme="light"] {
  color-scheme: light;
}

.root[data-theme="dark"] {
  color-scheme: dark;
}

.root[data-theme="inherit"] {
  color-scheme: inherit;
}

*,
*::before,
*::after {
  box-sizing: border-box;
}

h1,
h2,
h3,
p,
ol,
ul,
dl,
dd,
pre,
fieldset {
  min-width: 0;
  margin: 0;
  padding: 0;
  border: 0;
}

ol,
ul {
  list-style: none;
}

pre,
code {
  font: var(--small) / 1.5 var(--mono);
}

pre {
  white-space: pre-wrap;
  overflow-wrap: anywhere;
}

a {
  color: inherit;
}

button,
input,
textarea {
  color: inherit;
  font: inherit;
}

:focus-visible {
  outline: 2px solid var(--accent);
  outline-offset: 2px;
}

::placeholder {
  color: var(--muted);
  opacity: 1;
}

button,
.button {
  display: inline-flex;
  flex: none;
  align-items: center;
  justify-content: center;
  gap: 0.4375rem;
  min-height: 2.25rem;
  padding: 0 0.875rem;
  border: 1px solid var(--line-strong);
  border-radius: 0.625rem;
  background: var(--surface);
  font-size: 0.875rem;
  font-weight: 550;
  line-height: 1.3;
  text-decoration: none;
  cursor: pointer;
}

[hidden] {
  display: none !important;
}

button:hover,
.button:hover {
  border-color: var(--ink);
}

button.primary {
  border-color: var(--accent);
  background: var(--accent);
  color: var(--on-accent);
}

button.primary:hover {
  border-color: var(--ink);
}

button.quiet {
  border-color: transparent;
  background: none;
  color: var(--muted);
}

button.quiet:hover {
  background: var(--sunken);
  color: var(--ink);
}

button.danger {
  border-color: var(--red);
  background: var(--red);
  color: light-dark(#ffffff, #2b0906);
}

button.link {
  min-height: 1.5rem;
  padding: 0;
  border: 0;
  background: none;
  color: var(--accent);
  font-size: var(--small);
  text-decoration: underline;
  text-underline-offset: 0.2em;
}

button.icon-button {
  width: 2.25rem;
  padding: 0;
  border-color: transparent;
  background: none;
  color: var(--muted);
}

button.icon-button:hover {
  background: var(--code);
  color: var(--ink);
}

.icon {
  flex: none;
  width: 1.25rem;
  height: 1.25rem;
  fill: none;
  stroke: currentcolor;
  stroke-linecap: round;
  stroke-linejoin: round;
  stroke-width: 1.75;
}

.icon.solid {
  fill: currentcolor;
}

input:not([type="checkbox"], [type="radio"]) {
  width: 100%;
  min-height: 2.25rem;
  padding: 0 0.625rem;
  border: 1px solid var(--line-strong);
  border-radius: 0.5rem;
  background: var(--surface);
  font-size: 0.875rem;
}

summary {
  cursor: pointer;
}

.visually-hidden {
  position: absolute;
  width: 1px;
  height: 1px;
  overflow: hidden;
  clip-path: inset(50%);
  white-space: nowrap;
}

@media (pointer: coarse) {
  /* With smaller text, phones zoom in when a field takes the focus. */
  input:not([type="checkbox"], [type="radio"]) {
    min-height: 2.75rem;
    font-size: max(16px, 1rem);
  }
}

@keyframes breathe {
  50% {
    opacity: 0.35;
  }
}

@keyframes slide-in {
  from {
    opacity: 0;
    transform: translateX(var(--from));
  }
}

@keyframes appear {
  from {
    opacity: 0;
  }
}

@media (prefers-reduced-motion: reduce) {
  *,
  *::before,
  *::after {
    animation: none !important;
    transition: none !important;
  }
}

/* Panes beside the chat; in narrow windows, drawers above it. */

.pane {
  display: none;
  flex-direction: column;
  min-width: 0;
  min-height: 0;
  background: var(--side);
}

.drawer-only {
  display: none;
}

.scrim {
  position: absolute;
  z-index: 2;
  inset: 0;
  background: var(--veil);
  animation: appear 0.15s ease-out;
}

.pane[aria-modal] {
  position: absolute;
  z-index: 3;
  inset-block: 0;
  width: min(22rem, calc(100% - 3rem));
  box-shadow: var(--shadow);
  animation: slide-in 0.2s ease-out;
}

.pane[aria-modal] .drawer-only {
  display: inline-flex;
}

/* Modal dialogs. */

.dialog {
  width: min(27rem, calc(100vw - 2rem));
  max-height: calc(100dvh - 2rem);
  padding: 1.25rem;
  overflow-y: auto;
  border: 1px solid var(--line);
  border-radius: 1rem;
  background: var(--surface);
  color: var(--ink);
  box-shadow: var(--shadow);
}

.dialog[open] {
  animation: appear 0.15s ease-out;
}

.dialog::backdrop {
  background: var(--veil);
}

.dialog h2 {
  margin-bottom: 0.75rem;
  font-size: 1.0625rem;
}

.dialog footer {
  display: flex;
  justify-content: end;
  gap: 0.5rem;
  margin-top: 0.5rem;
}

#confirm-text {
  margin-bottom: 1rem;
  color: var(--muted);
  overflow-wrap: anywhere;
}
`);
