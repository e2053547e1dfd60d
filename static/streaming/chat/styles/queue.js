/** The queue above the composer. */

import { sheet } from "./sheet.js";

export const queueStyles = sheet(`
.queue {
  flex: none;
  max-height: min(16rem, 35dvh);
  margin-block-end: 0.25rem;
  padding: 0.375rem 0.375rem 0.375rem 0.75rem;
  overflow-y: auto;
  border: 1px solid var(--line);
  border-radius: var(--radius);
  background: var(--sunken);
}

.queue-head {
  display: flex;
  align-items: center;
  justify-content: space-between;
  gap: 0.75rem;
  padding-inline-end: 0.375rem;
  color: var(--muted);
}

.queue-head h3 {
  font-size: var(--small);
  font-weight: 550;
}

.queue-row {
  display: flex;
  align-items: center;
  gap: 0.125rem;
}

.queue-row + .queue-row {
  border-top: 1px solid var(--line);
}

.queue-text {
  display: -webkit-box;
  flex: 1;
  margin-block: 0.25rem;
  overflow: hidden;
  font-size: 0.875rem;
  line-height: 1.4;
  unicode-bidi: plaintext;
  overflow-wrap: anywhere;
  -webkit-box-orient: vertical;
  -webkit-line-clamp: 2;
}

.queue-row.sending .queue-text {
  animation: breathe 1.6s ease-in-out infinite;
}

.queue-row .icon-button {
  width: 2rem;
  min-height: 2rem;
}

.queue-row .icon-button .icon {
  width: 1.0625rem;
  height: 1.0625rem;
}

.queue-row [aria-disabled="true"] {
  cursor: default;
  opacity: 0.35;
}

.queue .editor {
  flex: 1;
  padding-block: 0.375rem;
}
`);
