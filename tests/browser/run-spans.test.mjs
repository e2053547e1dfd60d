// The spans of a run on the server's clock, also in a replay.

import assert from "node:assert/strict";
import { test } from "node:test";

import { RunSpans } from "../../static/streaming/page/run-spans.js";

const spansOf = (...events) => {
  const spans = new RunSpans();
  for (const [type, timestamp, more = {}] of events) {
    spans.receive({ id: "", type, data: { type, timestamp, ...more } });
  }
  return spans;
};
const shown = ({ all }) =>
  all.map(({ kind, start, end, open, failed }) =>
    [kind, start, end, ...(open ? ["open"] : []), ...(failed ? ["failed"] : [])].join(" "),
  );
const call = (id, status) => ({ tool_call: { id, name: "clock", status } });
const outcome = (ms) => ({ metadata: { execution_summary: { execution_time_ms: ms } } });

test("consecutive output of one kind is one span", () => {
  const spans = spansOf(
    ["connected", 1000], ["thinking", 1100], ["thinking", 1300], ["content", 1400], ["content", 1900],
  );
  assert.deepEqual(shown(spans), ["thinking 100 300", "text 400 900 open"]);
  assert.equal(spans.firstToken, 100);
  assert.equal(spans.outputTime, 700);
  assert.equal(spans.length, 900);
});

test("tools run in parallel and can fail", () => {
  const spans = spansOf(
    ["connected", 0], ["content", 10], ["tool_call", 20, call("a")], ["tool_call", 20, call("b")],
    ["tool_result", 50, call("b", "error")], ["content", 90], ["complete", 95, outcome(95)],
  );
  assert.deepEqual(shown(spans), ["text 10 10", "tool 20 20", "tool 20 50 failed", "text 90 90"]);
});

test("a replayed run starts at its own start, not at the time of the replay", () => {
  const spans = spansOf(
    ["connected", 90_000], ["thinking", 1200], ["content", 1500], ["complete", 2000, outcome(1000)],
    ["done", 2000],
  );
  assert.deepEqual(shown(spans), ["thinking 200 200", "text 500 500"]);
  assert.equal(spans.length, 1000);
  assert.equal(spans.firstToken, 200);
});

test("a reconnection does not move the start", () => {
  const spans = spansOf(["connected", 0], ["content", 10], ["connected", 500], ["content", 600]);
  assert.deepEqual(shown(spans), ["text 10 600 open"]);
  assert.equal(spans.length, 600);
});

test("no span stays open after the end", () => {
  const spans = spansOf(["connected", 0], ["tool_call", 10, call("a")], ["error", 20]);
  assert.deepEqual(shown(spans), ["tool 10 10"]);
});

test("a restart discards the spans after its number, and keeps their time", () => {
  const spans = new RunSpans();
  const receive = (number, type, timestamp, more = {}) =>
    spans.receive({ id: number ? `r:${number}` : "", type, data: { type, timestamp, ...more } });
  receive(0, "connected", 0);
  receive(1, "content", 10);
  receive(2, "tool_call", 20, call("a"));
  receive(3, "tool_result", 30, call("a", "completed"));
  receive(4, "thinking", 40);
  receive(5, "content", 50);
  receive(6, "content", 60);
  receive(1000, "restarted", 90, { metadata: { attempt: 2, discard_after: 3 } });
  receive(1001, "content", 100);
  receive(1002, "content", 120);
  const discarded = spans.all.map((span) => span.discarded);
  assert.deepEqual(discarded, [false, false, true, true, false]);
  assert.deepEqual(shown(spans), [
    "text 10 10", "tool 20 30", "thinking 40 40", "text 50 60", "text 100 120 open",
  ]);
});

test("a call that is sent again with its id is one span", () => {
  const spans = spansOf(
    ["connected", 0], ["tool_call", 10, call("a")], ["restarted", 20, { metadata: { discard_after: 9 } }],
    ["tool_call", 30, call("a")], ["tool_result", 50, call("a", "completed")],
  );
  assert.deepEqual(shown(spans), ["tool 10 50"]);
});
