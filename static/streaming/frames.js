/** Work on the page once per animation frame, however often it is asked for. */

/** @type {Set<() => void>} */
const due = new Set();

/**
 * Run `task` in the next animation frame; a task that is already due runs once.
 *
 * @param {() => void} task
 */
export function onNextFrame(task) {
  if (due.size === 0) requestAnimationFrame(runDue);
  due.add(task);
}

function runDue() {
  const tasks = [...due];
  due.clear();
  for (const task of tasks) task();
}
