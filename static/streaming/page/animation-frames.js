/**
 * Work on the page once per animation frame, however often it is asked for: first what
 * writes, then what measures and scrolls, so that the browser lays out once.
 */

/** @type {Set<() => void>} */
const writing = new Set();
/** @type {Set<() => void>} */
const showing = new Set();
let asked = false;

/**
 * Write in the next frame.
 *
 * @param {() => void} task
 */
export function onNextFrame(task) {
  writing.add(task);
  ask();
}

/**
 * Measure or scroll when all is written: in this frame while it is being written, else in
 * the next one.
 *
 * @param {() => void} task
 */
export function atFrameEnd(task) {
  showing.add(task);
  ask();
}

function ask() {
  if (!asked) requestAnimationFrame(runDue);
  asked = true;
}

function runDue() {
  try {
    run(writing);
    run(showing);
  } finally {
    asked = false;
    if (writing.size + showing.size) ask();
  }
}

/** @param {Set<() => void>} due */
function run(due) {
  const tasks = [...due];
  due.clear();
  for (const task of tasks) task();
}
