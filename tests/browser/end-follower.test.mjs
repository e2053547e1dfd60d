// A view follows the end of growing content until the user scrolls up.

import assert from "node:assert/strict";
import test from "node:test";

import { EndFollower } from "../../static/streaming/chat/end-follower.js";

/** A view at the end, 1,000 px from the top. */
function atTheEnd() {
  const follower = new EndFollower();
  follower.shown(1000);
  return follower;
}

test("scrolling up by any distance stops following", () => {
  const follower = atTheEnd();
  follower.scrolled(990, 10);
  assert.equal(follower.following, false);
});

test("new content does not stop following", () => {
  const follower = atTheEnd();
  follower.scrolled(1000, 500);
  assert.equal(follower.following, true);
});

test("shrinking content does not stop following", () => {
  const follower = atTheEnd();
  follower.scrolled(700, 0.5);
  assert.equal(follower.following, true);
});

test("scrolling down resumes following near the end, and not before", () => {
  const follower = atTheEnd();
  follower.scrolled(0, 1000);
  follower.scrolled(500, 500);
  assert.equal(follower.following, false);
  follower.scrolled(950, 50);
  assert.equal(follower.following, true);
});
