/** The demo page: the component, the events of its run beside it, and the settings. */

import { sheet } from "../../chat/styles/sheet.js";

export const page = sheet(`
.root {
  position: relative;
  display: grid;
  grid-template-columns: minmax(0, 1fr) auto;
  height: 100dvh;
}

.inspector {
  width: clamp(21rem, 27vw, 34rem);
  padding: 0.75rem 1rem 1rem;
  border-inline-start: 1px solid var(--line);
}

[data-inspector="open"] .inspector {
  display: flex;
}

.inspector[aria-modal] {
  position: fixed;
  inset-inline-end: 0;
  width: min(34rem, calc(100vw - 3rem));
  --from: 2rem;
}

.root > .scrim {
  position: fixed;
}

.settings-button {
  justify-content: start;
  width: 100%;
  padding-inline: 0.625rem;
}

.organization {
  flex: 1;
  min-width: 0;
  overflow: hidden;
  font-weight: 400;
  text-align: end;
  text-overflow: ellipsis;
  white-space: nowrap;
}

.sidebar-last {
  display: flex;
  align-items: center;
  justify-content: space-between;
  gap: 0.5rem;
  padding: 0.375rem 0 0 0.625rem;
}

.agent-choice select {
  max-width: 100%;
  min-height: 2.25rem;
  margin-inline-start: 0.25rem;
  padding-inline: 0.5rem;
  border: 1px solid var(--line-strong);
  border-radius: 0.625rem;
  background: var(--surface);
  color: var(--ink);
  font: inherit;
}

.agent-choice span {
  display: block;
  padding-top: 0.25rem;
}

.links {
  display: flex;
  gap: 0.5rem;
  color: var(--muted);
  font-size: 0.75rem;
}

.links a {
  display: inline-block;
  padding-block: 0.25rem;
  text-decoration-color: var(--line-strong);
  text-underline-offset: 0.2em;
}

.links a:hover {
  color: var(--ink);
}

.theme {
  display: flex;
  padding: 0.125rem;
  border-radius: 0.625rem;
  background: var(--code);
}

.theme label {
  position: relative;
  display: grid;
  place-items: center;
  width: 1.75rem;
  height: 1.625rem;
  border-radius: 0.5rem;
  color: var(--muted);
  cursor: pointer;
}

.theme label:has(:checked) {
  background: var(--surface);
  box-shadow: 0 1px 2px var(--shade);
  color: var(--ink);
}

.theme label:has(:focus-visible) {
  outline: 2px solid var(--accent);
}

.theme input {
  position: absolute;
  inset: 0;
  margin: 0;
  opacity: 0;
  cursor: inherit;
}

.theme .icon {
  width: 1rem;
  height: 1rem;
}

@media (pointer: coarse) {
  button.icon-button {
    min-width: 2.75rem;
  }

  :is(button.icon-button, .agent-choice select) {
    min-height: 2.75rem;
  }
}

@media (max-height: 26rem) {
  .root {
    height: auto;
    min-height: 100dvh;
  }

  .pane:not([aria-modal]) {
    position: sticky;
    top: 0;
    height: 100dvh;
  }
}
`);
