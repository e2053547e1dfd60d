/** The list of events: one line each, with collapsed JSON below. */

import { sheet } from "../../chat/styles/sheet.js";

export const eventLog = sheet(`
.event-log {
  display: flex;
  flex: 1;
  flex-direction: column;
  min-height: 0;
}

.event-log > header {
  display: flex;
  align-items: center;
  justify-content: space-between;
  gap: 1rem;
  min-height: 2rem;
  margin-bottom: 0.5rem;
}

.event-log h2 {
  font-size: 0.9375rem;
}

.event-count {
  color: var(--muted);
  font-size: var(--small);
  font-variant-numeric: tabular-nums;
}

.events {
  flex: 1;
  min-height: 6rem;
  overflow: auto;
  contain: content;
  border: 1px solid var(--line);
  border-radius: var(--radius);
  background: var(--sunken);
  font: 0.75rem/1.5 var(--mono);
}

.events:empty::before {
  display: block;
  padding: 0.75rem 1rem;
  color: var(--muted);
  font: var(--small) / 1.5 var(--sans);
  content: "Each event of a run is listed here, with its JSON.";
}

/* The size is known before a page leaves the view, where it is no longer laid out. */
.event-page {
  contain-intrinsic-block-size: auto 96.875rem;
}

.event-page:nth-last-child(n + 3) {
  content-visibility: auto;
}

.event {
  border-bottom: 1px solid var(--line);
}

.event[data-type="connected"]:not(:first-child) {
  border-top: 2px solid var(--line-strong);
}

.event-line {
  display: grid;
  grid-template-columns: minmax(4ch, auto) minmax(10ch, auto) 11ch minmax(0, 1fr);
  justify-content: stretch;
  gap: 1ch;
  width: 100%;
  min-height: 0;
  padding: 0.375rem 0.625rem;
  border: 0;
  border-radius: 0;
  background: none;
  font: inherit;
  text-align: start;
}

.event-line:hover {
  background: var(--surface);
}

.event-line:focus-visible {
  outline-offset: -2px;
}

.event-id,
.event-time {
  color: var(--muted);
  text-align: end;
}

.event-type {
  color: var(--type, var(--muted));
  font-weight: 600;
}

.event-preview {
  overflow: hidden;
  color: var(--muted);
  text-overflow: ellipsis;
  white-space: nowrap;
}

:is([data-type="content"], [data-type="input"]) {
  --type: var(--ink);
}

[data-type="thinking"] {
  --type: var(--violet);
}

:is([data-type="tool_call"], [data-type="tool_result"]) {
  --type: var(--blue);
}

:is([data-type="connected"], [data-type="complete"]) {
  --type: var(--accent);
}

:is([data-type="restarted"], [data-type="error"]) {
  --type: var(--red);
}

.event[data-void] .event-preview {
  text-decoration: line-through;
}

.event-tools {
  display: flex;
  flex-wrap: wrap;
  gap: 0.25rem 0.5rem;
  align-items: center;
  justify-content: space-between;
  margin-bottom: 0.5rem;
}

.event-filter {
  display: flex;
  flex-wrap: wrap;
  gap: 0.25rem;
}

.event-switch {
  min-height: 1.625rem;
  padding: 0 0.5rem;
  border-color: var(--line);
  border-radius: 0.8125rem;
  color: var(--muted);
  font: 0.75rem/1.5 var(--mono);
  font-variant-numeric: tabular-nums;
}

.event-switch span {
  color: var(--type, var(--muted));
  font-weight: 600;
}

.event-switch[aria-pressed="false"] {
  border-style: dashed;
  background: none;
}

.event-switch[aria-pressed="false"] span {
  color: var(--muted);
  font-weight: 400;
  text-decoration: line-through;
}

.event-actions {
  display: flex;
  margin-inline-start: -0.5rem;
}

.event-body {
  padding: 0.25rem 0.625rem 0.75rem;
  overflow-wrap: anywhere;
}

.event-body p {
  color: var(--muted);
}

.event-body pre {
  font-size: inherit;
}
`);
