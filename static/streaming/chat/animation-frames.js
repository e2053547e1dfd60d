/**
 * A scheduler that runs each task at most once per animation frame: first the tasks that
 * write to the page, then those that measure and scroll, so that the browser lays out once.
 */

/** @type {Set<() => void>} */
const writeTasks = new Set();
/** @type {Set<() => void>} */
const measureTasks = new Set();
let scheduled = false;

/**
 * Run a task that writes to the page in the next frame.
 *
 * @param {() => void} task
 */
export function onNextFrame(task) {
  writeTasks.add(task);
  schedule();
}

/**
 * Run a task that measures or scrolls after all write tasks: in the current frame if its
 * write tasks are running, otherwise in the next one.
 *
 * @param {() => void} task
 */
export function atFrameEnd(task) {
  measureTasks.add(task);
  schedule();
}

function schedule() {
  if (!scheduled) requestAnimationFrame(runDue);
  scheduled = true;
}

function runDue() {
  try {
    run(writeTasks);
    run(measureTasks);
  } finally {
    scheduled = false;
    if (writeTasks.size + measureTasks.size) schedule();
  }
}

/** @param {Set<() => void>} due */
function run(due) {
  const tasks = [...due];
  due.clear();
  for (const task of tasks) task();
}
