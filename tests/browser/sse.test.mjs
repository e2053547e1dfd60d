// The SSE parser against the standard.

import assert from "node:assert/strict";
import { test } from "node:test";

import { EventStreamParser } from "../../static/streaming/sse.js";

const encoder = new TextEncoder();

/** What a parser gives for `bytes`, fed `size` at a time. */
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

test("an empty chunk between CR and LF does not part them", () => {
  const parser = new EventStreamParser();
  const chunks = ["data: a\r", "", "\n\r", "", "\ndata: b\r\n\r\n"];
  const events = chunks.flatMap((chunk) => [...parser.push(encoder.encode(chunk))]);
  assert.deepEqual(events.map(({ data }) => data), ["a", "b"]);
});

test("an event that ends in CR is given without waiting for what follows", () => {
  assert.equal(parseText("data: now\r\r").length, 1);
});

test("an event without its blank line is not given", () => {
  assert.deepEqual(parseText("data: whole\n\ndata: cut\n").length, 1);
});

test("a blank line without data gives nothing and forgets the event's name", () => {
  const events = parseText("event: lost\n\ndata: x\n\n");
  assert.deepEqual(events, [{ event: "message", data: "x", id: "" }]);
});

test("an id stays until another comes, an empty one resets it, NUL is refused", () => {
  const events = parseText("id: 7\ndata: a\n\nid: 8\0\ndata: b\n\nid\ndata: c\n\n");
  assert.deepEqual(events.map(({ id }) => id), ["7", "7", ""]);
});

test("an id counts even where its event has no data", () => {
  const parser = new EventStreamParser();
  parse(encoder.encode("id: 9\n\n"), 1, parser);
  assert.equal(parser.lastEventId, "9");
});

test("only digits set the time to wait before connecting again", () => {
  const parser = new EventStreamParser();
  parse(encoder.encode("retry: 250\nretry: soon\nretry: -1\nretry:\n\n"), 1, parser);
  assert.equal(parser.retry, 250);
});

test("only the first space after the colon is dropped, colons in values stay", () => {
  assert.equal(parseText("data:  a: b:\n\n")[0].data, " a: b:");
});

test("U+2028 and a form feed are no line ends", () => {
  assert.equal(parseText("data: a\u2028b\fc\n\n")[0].data, "a\u2028b\fc");
});
