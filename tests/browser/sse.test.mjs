// The SSE parser against the standard.

import assert from "node:assert/strict";
import { test } from "node:test";

import { EventStreamParser } from "../../static/streaming/client/sse.js";

const encoder = new TextEncoder();

/** Return the events that a parser finds in `bytes`, fed `size` at a time. */
function parse(bytes, size = bytes.length, parser = new EventStreamParser()) {
  const events = [];
  for (let at = 0; at < bytes.length; at += size) {
    events.push(...parser.push(bytes.subarray(at, at + size)));
  }
  return events;
}

const parseText = (text) => parse(encoder.encode(text));

const STREAM = [
  "\uFEFF: a comment",
  "retry: 1500",
  "id: run:1",
  "event: content",
  'data: {"content":"5 − 2 = 3 🍎, naïve"}',
  "",
  ": keep-alive",
  "",
  "data",
  "data:  two spaces",
  "data:none",
  "",
  "id: run:3",
  "event: done",
  "data: {}",
  "",
  "",
];

const EXPECTED = [
  { event: "content", data: '{"content":"5 − 2 = 3 🍎, naïve"}', id: "run:1" },
  { event: "message", data: "\n two spaces\nnone", id: "run:1" },
  { event: "done", data: "{}", id: "run:3" },
];

for (const [name, end] of [["LF", "\n"], ["CR", "\r"], ["CRLF", "\r\n"]]) {
  test(`a stream with ${name} ends reads the same however it is cut`, () => {
    const bytes = encoder.encode(STREAM.join(end));
    for (let size = 1; size <= bytes.length; size++) {
      assert.deepEqual(parse(bytes, size), EXPECTED, `chunks of ${size} bytes`);
    }
  });
}

test("the standard's first example: lines are joined", () => {
  const [event] = parseText("data: YHOO\ndata: +2\ndata: 10\n\n");
  assert.deepEqual(event, { event: "message", data: "YHOO\n+2\n10", id: "" });
});

test("the standard's second example: comments, ids, and the space after a colon", () => {
  const blocks = [
    ": test stream\n",
    "data: first event\nid: 1\n",
    "data:second event\nid\n",
    "data:  third event\n",
  ];
  assert.deepEqual(parseText(blocks.join("\n") + "\n"), [
    { event: "message", data: "first event", id: "1" },
    { event: "message", data: "second event", id: "" },
    { event: "message", data: " third event", id: "" },
  ]);
});

test("the standard's third example: empty data is data, an unterminated event is none", () => {
  const events = parseText("data\n\ndata\ndata\n\ndata:");
  assert.deepEqual(events.map(({ data }) => data), ["", "\n"]);
});

test("the standard's fourth example: one space may follow the colon", () => {
  const events = parseText("data:test\n\ndata: test\n\n");
  assert.deepEqual(events.map(({ data }) => data), ["test", "test"]);
});

test("only the field names of the standard count, letter by letter", () => {
  const lines = ["data:\0", "data:  2", "Data:1", "data\0:2", "data:1", "\0data:4"];
  lines.push("da-ta:3", "data_5", "data:3", " data:32", "data:4", "ID: 1", "id2: 1", "idle");
  const events = parseText(lines.join("\n") + "\n\n");
  assert.deepEqual(events, [{ event: "message", data: "\0\n 2\n1\n3\n4", id: "" }]);
});

test("one byte order mark is skipped, a second one makes its line invalid", () => {
  assert.deepEqual(parseText("\uFEFFdata: a\n\n\uFEFFdata: b\n\n").length, 1);
  assert.deepEqual(parseText("\uFEFF\uFEFFdata: a\n\n"), []);
});

test("bytes that are not UTF-8 become U+FFFD and change nothing else", () => {
  const bytes = Uint8Array.of(...encoder.encode("data: a"), 0xff, 0xe2, 0x82, 10, 10);
  assert.equal(parse(bytes, 1)[0].data, "a\uFFFD\uFFFD");
});

test("a long line in small chunks is read in linear time", () => {
  const bytes = encoder.encode(`data: ${"x".repeat(4_000_000)}\n\n`);
  assert.equal(parse(bytes, 100)[0].data.length, 4_000_000);
});

test("an empty chunk between CR and LF does not separate them", () => {
  const parser = new EventStreamParser();
  const chunks = ["data: a\r", "", "\n\r", "", "\ndata: b\r\n\r\n"];
  const events = chunks.flatMap((chunk) => [...parser.push(encoder.encode(chunk))]);
  assert.deepEqual(events.map(({ data }) => data), ["a", "b"]);
});

test("an event that ends in CR is returned without waiting for the next byte", () => {
  assert.equal(parseText("data: now\r\r").length, 1);
});

test("an event without its blank line is not returned", () => {
  assert.deepEqual(parseText("data: whole\n\ndata: cut\n").length, 1);
});

test("a blank line without data returns nothing and resets the event's name", () => {
  const events = parseText("event: lost\n\ndata: x\n\n");
  assert.deepEqual(events, [{ event: "message", data: "x", id: "" }]);
});

test("an id is kept until another one, an empty one resets it, NUL is rejected", () => {
  const events = parseText("id: 7\ndata: a\n\nid: 8\0\ndata: b\n\nid\ndata: c\n\n");
  assert.deepEqual(events.map(({ id }) => id), ["7", "7", ""]);
});

test("an id counts even if its event has no data", () => {
  const parser = new EventStreamParser();
  parse(encoder.encode("id: 9\n\n"), 1, parser);
  assert.equal(parser.lastEventId, "9");
});

test("only digits set the delay before reconnecting", () => {
  const parser = new EventStreamParser();
  parse(encoder.encode("retry: 250\nretry: soon\nretry: -1\nretry:\n\n"), 1, parser);
  assert.equal(parser.retry, 250);
});

test("only the first space after the colon is dropped, colons in values stay", () => {
  assert.equal(parseText("data:  a: b:\n\n")[0].data, " a: b:");
});

test("U+2028 and a form feed are not line endings", () => {
  assert.equal(parseText("data: a\u2028b\fc\n\n")[0].data, "a\u2028b\fc");
});
