/** A run's figures and timeline. */

import { sheet } from "../../chat/styles/sheet.js";

export const runMeters = sheet(`
.meters {
  margin-bottom: 1rem;
}

.meter-values {
  display: grid;
  grid-template-columns: repeat(3, minmax(0, auto));
  gap: 0.5rem 1.25rem;
  justify-content: start;
}

.meter {
  display: flex;
  flex-direction: column;
}

.meter dt {
  color: var(--muted);
  font-size: 0.75rem;
}

.meter dd {
  font-size: 0.9375rem;
  font-weight: 550;
  font-variant-numeric: tabular-nums;
  white-space: nowrap;
}

.timeline {
  margin: 0.875rem 0 0;
}

.timeline svg {
  display: block;
  width: 100%;
  border-radius: 0.1875rem;
}

/* Even the shortest bar is visible. */
.timeline rect {
  fill: var(--bar);
  stroke: var(--bar);
  stroke-width: 2px;
  vector-effect: non-scaling-stroke;
}

.bar-thinking {
  --bar: var(--violet);
}

.bar-text {
  --bar: var(--accent);
}

.bar-tool {
  --bar: var(--blue);
}

.bar-failed {
  --bar: var(--red);
}

.bar-discarded {
  --bar: var(--line-strong);
}

.timeline-axis {
  display: flex;
  justify-content: space-between;
  margin-top: 0.1875rem;
  padding-top: 0.125rem;
  border-top: 1px solid var(--line);
  color: var(--muted);
  font-size: 0.75rem;
  font-variant-numeric: tabular-nums;
}
`);
