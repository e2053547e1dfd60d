/** The choice between the versions of a question or of an answer. */

import { sheet } from "./sheet.js";

export const branchStyles = sheet(`
.versions {
  display: flex;
  align-items: center;
  color: var(--muted);
  font-size: var(--small);
  font-variant-numeric: tabular-nums;
}

.exchange > .versions {
  align-self: end;
  margin-block: -0.625rem -0.375rem;
}

.versions .icon-button {
  width: 2rem;
  min-height: 2rem;
}

.versions .icon {
  width: 1rem;
  height: 1rem;
}

.versions .previous .icon,
.root[dir="rtl"] .versions .next .icon {
  transform: scaleX(-1);
}

.root[dir="rtl"] .versions .previous .icon {
  transform: none;
}

.versions [aria-disabled="true"] {
  cursor: default;
  opacity: 0.35;
}

.prompt:has(.editor) {
  width: 100%;
  max-width: 100%;
}
`);
