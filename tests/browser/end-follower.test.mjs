// Who follows the end of what grows, and who has gone elsewhere.

import assert from "node:assert/strict";
import test from "node:test";

import { EndFollower } from "../../static/streaming/page/end-follower.js";

/** A reader at the end, 1,000 px from the top. */
function atTheEnd() {
  const reader = new EndFollower();
  reader.shown(1000);
  return reader;
}

test("who goes up leaves the end, by however little", () => {
  const reader = atTheEnd();
  reader.scrolled(990, 10);
  assert.equal(reader.following, false);
});

test("what comes in moves nobody away from the end", () => {
  const reader = atTheEnd();
  reader.scrolled(1000, 500);
  assert.equal(reader.following, true);
});

test("what shrinks moves nobody away from the end", () => {
  const reader = atTheEnd();
  reader.scrolled(700, 0.5);
  assert.equal(reader.following, true);
});

test("who comes down near to the end follows it again, and not before", () => {
  const reader = atTheEnd();
  reader.scrolled(0, 1000);
  reader.scrolled(500, 500);
  assert.equal(reader.following, false);
  reader.scrolled(950, 50);
  assert.equal(reader.following, true);
});
