/** The conversation: questions, thinking, tool calls and answers in Markdown. */

import { sheet } from "./sheet.js";

export const transcript = sheet(`
.transcript {
  display: flex;
  flex-direction: column;
  gap: 2rem;
  padding-block: 1.5rem 1rem;
}

.transcript:empty {
  display: none;
}

.exchange,
.answer {
  display: flex;
  flex-direction: column;
  gap: 0.875rem;
  min-width: 0;
}

.exchange {
  position: relative;
}

.prompt {
  position: relative;
  align-self: end;
  max-width: 85%;
  padding: 0.5rem 0.875rem;
  border-radius: 1rem;
  border-end-end-radius: 0.25rem;
  background: var(--accent-soft);
}

.prompt p,
.text.plain,
.thinking-text,
.failure,
.note {
  unicode-bidi: plaintext;
  white-space: pre-wrap;
  overflow-wrap: anywhere;
}

.edit-question {
  position: absolute;
  inset-block-end: 0;
  inset-inline-end: 100%;
}

@media (hover: hover) {
  .exchange:not(:hover, :focus-within) .edit-question {
    opacity: 0;
  }
}

.conversation:is([data-phase="running"], [data-phase="paused"]) :is(.edit-question, .versions) {
  visibility: hidden;
}

.exchange[data-waiting] .answer::after {
  display: inline-block;
  width: 0.5rem;
  height: 1em;
  border-radius: 1px;
  background: var(--accent);
  animation: breathe 1.2s ease-in-out infinite;
  content: "";
}

/* Thinking */

.thinking {
  color: var(--muted);
  font-size: 0.875rem;
}

.thinking summary {
  display: flex;
  gap: 0.25rem;
  align-items: center;
  width: fit-content;
  padding-block: 0.125rem;
  border-radius: 0.25rem;
  list-style: none;
  font-variant-numeric: tabular-nums;
}

.thinking summary::-webkit-details-marker {
  display: none;
}

.thinking summary:hover {
  color: var(--ink);
}

.thinking summary .icon {
  transition: rotate 120ms;
}

.thinking[open] summary .icon {
  rotate: 90deg;
}

.root[dir="rtl"] .thinking summary .icon {
  scale: -1 1;
}

.root[dir="rtl"] .thinking[open] summary .icon {
  rotate: -90deg;
}

.thinking[data-live] summary span {
  animation: breathe 1.6s ease-in-out infinite;
}

.thinking-text {
  margin: 0.375rem 0 0 0.4375rem;
  padding-inline-start: 0.9375rem;
  border-inline-start: 2px solid var(--line);
}

/* Tool calls; parallel calls are shown side by side. */

.tools {
  display: grid;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr));
  gap: 0.625rem;
  align-items: start;
}

.tool {
  container-type: inline-size;
  overflow: hidden;
  border: 1px solid var(--line);
  border-radius: var(--radius);
  background: var(--surface);
}

.tool-head {
  display: flex;
  flex-wrap: wrap;
  align-items: center;
  justify-content: space-between;
  gap: 0 1rem;
  padding: 0.5rem 0.875rem;
  list-style: none;
}

.tool-head::-webkit-details-marker {
  display: none;
}

.tool-head:hover .tool-name {
  text-decoration: underline;
  text-decoration-color: var(--line-strong);
  text-underline-offset: 0.2em;
}

.tool-head:focus-visible {
  outline-offset: -2px;
}

.tool[open] .tool-head {
  border-bottom: 1px solid var(--line);
}

.tool-name {
  min-width: 0;
  font: 600 0.875rem/1.5 var(--mono);
  overflow-wrap: anywhere;
}

.tool-state {
  display: flex;
  align-items: center;
  gap: 0.4375rem;
  color: var(--muted);
  font-size: var(--small);
  font-variant-numeric: tabular-nums;
}

.tool-state::before {
  width: 0.5rem;
  height: 0.5rem;
  border-radius: 50%;
  background: var(--dot, var(--line-strong));
  content: "";
}

.tool[data-state="executing"] .tool-state::before {
  width: 0.75rem;
  height: 0.75rem;
  border: 2px solid var(--line);
  border-top-color: var(--accent);
  background: none;
  animation: spin 0.9s linear infinite;
}

.tool[data-state="completed"] .tool-state::before {
  --dot: var(--accent);
}

.tool[data-state="error"] {
  border-color: color-mix(in srgb, var(--red) 40%, var(--line));
}

.tool[data-state="error"] .tool-state {
  --dot: var(--red);
  color: var(--red);
}

.tool-data {
  display: grid;
  grid-template-columns: auto minmax(0, 1fr);
  gap: 0.25rem 1rem;
  padding: 0.5rem 0.875rem 0.625rem;
}

.tool-data dt {
  color: var(--muted);
  font-size: var(--small);
}

.tool-data pre {
  line-height: 1.6;
}

.tool-data .folded {
  max-height: 12rem;
  overflow: hidden;
  mask-image: linear-gradient(#000 70%, transparent);
}

.show-all {
  min-height: 1.75rem;
  margin-top: 0.25rem;
  padding: 0;
  border: 0;
  background: none;
  color: var(--accent);
  font-size: var(--small);
}

.show-all:hover {
  text-decoration: underline;
}

@keyframes spin {
  to {
    rotate: 1turn;
  }
}

/* Outcome */

.summary,
.note {
  color: var(--muted);
  font-size: var(--small);
}

.exchange-bar {
  display: flex;
  flex-wrap: wrap;
  gap: 0 0.25rem;
  align-items: center;
  margin-inline-start: -0.5rem;
}

.summary {
  order: -1;
  flex-basis: 100%;
  padding-inline-start: 0.5rem;
  font-variant-numeric: tabular-nums;
}

.tool-button {
  display: inline-flex;
  gap: 0.375rem;
  align-items: center;
  min-height: 2rem;
  padding: 0 0.5rem;
  border: 0;
  border-radius: 0.5rem;
  background: none;
  color: var(--muted);
  font-size: var(--small);
  font-weight: 450;
  white-space: nowrap;
}

.tool-button:hover {
  background: var(--sunken);
  color: var(--ink);
}

.tool-button[data-state="copied"] {
  color: var(--accent);
}

.exchange:not(:last-child) .regenerate {
  display: none;
}

:is(.tool-button, .thinking) .icon {
  flex: none;
  width: 1rem;
  height: 1rem;
  fill: none;
  stroke: currentcolor;
  stroke-width: 1.75;
  stroke-linecap: round;
  stroke-linejoin: round;
}

.failure {
  padding: 0.625rem 0.875rem;
  border: 1px solid var(--red);
  border-radius: var(--radius);
  background: var(--red-soft);
}

.proposals {
  display: flex;
  flex-wrap: wrap;
  gap: 0.5rem;
}

.unreadable {
  display: flex;
  flex-wrap: wrap;
  gap: 0.5rem;
}

.unreadable .failure {
  width: 100%;
}

.older-row {
  display: grid;
  place-items: center;
}

.failure code {
  color: var(--red);
}

@container (max-width: 26rem) {
  .tool-data {
    grid-template-columns: minmax(0, 1fr);
    gap: 0;
  }

  .tool-data dd + dt {
    margin-top: 0.375rem;
  }
}

/* Answers in Markdown. */

.text {
  display: flow-root;
  overflow-wrap: anywhere;
}

/* The size is known before a page leaves the view, where it is no longer laid out. */
.text-page {
  display: flow-root;
  contain-intrinsic-block-size: auto 90rem;
}

.text-page:nth-last-child(n + 4) {
  content-visibility: auto;
  overflow-clip-margin: 0.5rem;
}

.text-page > * {
  margin-top: 0.875rem;
}

/* Each paragraph is written in the direction of its first word. */
.text :is(p, h4, li, th, td) {
  unicode-bidi: plaintext;
}

.text h4 {
  margin: 1.5rem 0 0;
  font-size: 1rem;
  font-weight: 650;
  line-height: 1.35;
}

.text h4.depth-1 {
  font-size: 1.375rem;
  letter-spacing: -0.01em;
}

.text h4.depth-2 {
  font-size: 1.1875rem;
  letter-spacing: -0.005em;
}

.text h4.depth-3 {
  font-size: 1.0625rem;
}

.text h4 + * {
  margin-top: 0.5rem;
}

.text-page:first-child > :first-child {
  margin-top: 0;
}

.text :is(ul, ol) {
  padding-inline-start: 1.625rem;
}

.text ul {
  list-style: disc;
}

.text ul ul {
  list-style: circle;
}

.text ol {
  list-style: decimal;
}

.text li::marker {
  color: var(--muted);
  font-variant-numeric: tabular-nums;
}

.text li + li,
.text li > :is(ul, ol) {
  margin-top: 0.3125rem;
}

.text li > * + :is(p, .code, .table, blockquote) {
  margin-top: 0.5rem;
}

.text li.task {
  list-style: none;
}

.text li.task > input,
.text li.task > p > input {
  width: 0.9375rem;
  height: 0.9375rem;
  min-height: 0;
  margin: 0 0.5rem 0 -1.4375rem;
  accent-color: var(--accent);
  vertical-align: -0.125rem;
}

.text a {
  color: var(--accent);
  text-decoration-color: color-mix(in srgb, currentcolor 40%, transparent);
  text-underline-offset: 0.2em;
}

.text a:hover {
  text-decoration-color: currentcolor;
}

.text blockquote {
  margin-inline: 0;
  padding-inline-start: 1rem;
  border-inline-start: 3px solid var(--line);
  color: var(--muted);
}

.text blockquote > * + * {
  margin-top: 0.5rem;
}

.text hr {
  margin-block: 1.5rem;
  border: 0;
  border-top: 1px solid var(--line);
}

.text :is(sub, sup) {
  line-height: 0;
}

/* Code and formulas */

.text code {
  unicode-bidi: isolate;
  padding: 0.125rem 0.3125rem;
  border-radius: 0.3125rem;
  background: var(--code);
  font-size: 0.875em;
}

.text .math {
  font-family: var(--mono);
  font-size: 0.9em;
}

.text div.math {
  overflow-x: auto;
  padding-block: 0.25rem;
  text-align: center;
  white-space: pre-wrap;
}

.code {
  direction: ltr;
  overflow: hidden;
  border: 1px solid var(--line);
  border-radius: var(--radius);
  background: var(--sunken);
}

.code-head {
  display: flex;
  align-items: center;
  justify-content: space-between;
  min-height: 2.25rem;
  padding: 0 0.25rem 0 0.875rem;
  border-bottom: 1px solid var(--line);
  color: var(--muted);
  font: var(--small) / 1.5 var(--mono);
}

.code-head .tool-button:hover {
  background: var(--code);
}

.code pre {
  padding: 0.75rem 0.875rem;
  overflow-x: auto;
  border-radius: 0 0 var(--radius) var(--radius);
  overflow-wrap: normal;
  white-space: pre;
  tab-size: 4;
}

.code pre:focus-visible,
.table:focus-visible {
  outline-offset: -2px;
}

.code pre code {
  padding: 0;
  background: none;
  font-size: inherit;
}

.code-keyword,
.code-meta,
.code-selector-tag,
.code-name {
  color: var(--violet);
}

.code-string,
.code-regexp,
.code-addition,
.code-template-tag {
  color: var(--accent);
}

.code-number,
.code-literal,
.code-attr,
.code-attribute,
.code-symbol,
.code-variable,
.code-template-variable,
.code-selector-class,
.code-selector-id {
  color: var(--amber);
}

.code-title,
.code-section,
.code-built_in,
.code-type,
.code-tag,
.code-property {
  color: var(--blue);
}

.code-comment,
.code-quote,
.code-doctag {
  color: var(--muted);
  font-style: italic;
}

.code-deletion {
  color: var(--red);
}

.code-emphasis {
  font-style: italic;
}

.code-strong {
  font-weight: 700;
}

/* Tables */

.table {
  width: fit-content;
  max-width: 100%;
  overflow-x: auto;
  border: 1px solid var(--line);
  border-radius: var(--radius);
}

.table table {
  border-collapse: collapse;
  font-size: 0.9375rem;
  overflow-wrap: normal;
}

.table :is(th, td) {
  min-width: 5rem;
  max-width: 24rem;
  padding: 0.4375rem 0.875rem;
  text-align: start;
  vertical-align: top;
}

.table :is(th, td).right {
  font-variant-numeric: tabular-nums;
  text-align: end;
}

.table :is(th, td).center {
  text-align: center;
}

.table th {
  background: var(--sunken);
  font-size: var(--small);
  font-weight: 600;
  white-space: nowrap;
}

.table tbody tr {
  border-top: 1px solid var(--line);
}

/* The cursor of a growing answer */

.text[data-live] > :last-child > :is(p, h4):last-child::after,
.text[data-live] > :last-child > :is(ul, ol):last-child > li:last-child:not(:has(ul, ol, p))::after,
.text[data-live] > :last-child > :is(ul, ol):last-child > li:last-child > :is(ul, ol, p):last-child > li:last-child:not(:has(ul, ol))::after,
.text[data-live].plain::after {
  display: inline-block;
  width: 0.5rem;
  height: 1em;
  margin-inline-start: 0.125rem;
  border-radius: 1px;
  background: var(--accent);
  vertical-align: -0.125em;
  animation: breathe 1.2s ease-in-out infinite;
  content: "";
}
`);
