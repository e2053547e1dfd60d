/** Work on the page once per animation frame, however often it is asked for. */

/** @type {Set<() => void>} */
const due = new Set();

/**
 * Run `task` in the next animation frame, after those that were asked for before it.
 * A task that is already due runs once, at its new place.
 *
 * @param {() => void} task
 */
export function onNextFrame(task) {
  if (due.size === 0) requestAnimationFrame(runDue);
  due.delete(task);
  due.add(task);
}

function runDue() {
  const tasks = [...due];
  due.clear();
  for (const task of tasks) task();
}
