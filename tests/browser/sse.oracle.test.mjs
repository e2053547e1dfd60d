// The SSE parser against two others, on random streams cut at random: the algorithm of
// the standard word for word, and eventsource-parser.

import assert from "node:assert/strict";
import { test } from "node:test";

import { createParser } from "eventsource-parser";

import { EventStreamParser } from "../../static/streaming/client/sse.js";

const STREAMS = 3000;
const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000);
const encoder = new TextEncoder();

/** Numbers below 1 that follow from the seed (mulberry32). */
function randomOf(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let x = Math.imul(seed ^ (seed >>> 15), seed | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

const NAMES = ["data", "data", "data", "event", "id", "retry", "", "Data", "datum", " id"];
const SEPARATORS = [":", ": ", ":  ", "", ":\t", " :"];
const VALUES = ["", "a", "1200", "-5", "12a", " ", ":", "a: b", "é", "🍎", "\0", "\u2028", "\uFEFF"];
VALUES.push("{\"type\":\"content\"}", "data: x", "r:17", "long ".repeat(40));
const ENDS = ["\n", "\r", "\r\n"];

function randomStream(random) {
  const pick = (list) => list[Math.floor(random() * list.length)];
  const ends = random() < 0.5 ? [pick(ENDS)] : ENDS;
  let text = random() < 0.2 ? "\uFEFF" : "";
  for (let lines = Math.floor(random() * 40); lines > 0; lines--) {
    const blank = random() < 0.3;
    const line = pick(NAMES) + pick(SEPARATORS) + pick(VALUES) + pick(VALUES);
    text += (blank ? "" : line) + pick(ends);
  }
  return text;
}

function randomPieces(bytes, random) {
  const pieces = [];
  const longest = 1 + Math.floor(random() ** 3 * 200);
  for (let at = 0; at < bytes.length; ) {
    const size = Math.floor(random() * (longest + 1));
    pieces.push(bytes.subarray(at, at + size));
    at += size;
  }
  return pieces;
}

function ours(pieces) {
  const parser = new EventStreamParser();
  const events = pieces.flatMap((piece) => parser.push(piece));
  return { events, lastEventId: parser.lastEventId, retry: parser.retry };
}

/** "Interpreting an event stream", over the whole text at once. */
function standard(text) {
  const events = [];
  let data = "";
  let type = "";
  let lastEventId = "";
  let retry;
  const lines = text.replace(/^\uFEFF/, "").split(/\r\n|\n|\r/);
  for (const line of lines.slice(0, -1)) {
    if (line === "") {
      if (data !== "") {
        events.push({ event: type || "message", data: data.slice(0, -1), id: lastEventId });
      }
      [data, type] = ["", ""];
      continue;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") type = value;
    if (field === "data") data += `${value}\n`;
    if (field === "id" && !value.includes("\0")) lastEventId = value;
    if (field === "retry" && /^[0-9]+$/.test(value)) retry = Number(value);
  }
  return { events, lastEventId, retry };
}

/** Return the events of eventsource-parser, which reports an id only with its own event. */
function theirs(pieces) {
  const events = [];
  let retry;
  const onEvent = ({ event = "message", data }) => events.push({ event, data });
  const parser = createParser({ onEvent, onRetry: (ms) => (retry = ms) });
  const decoder = new TextDecoder();
  let last = "";
  for (const piece of pieces) {
    const text = decoder.decode(piece, { stream: true });
    last = text || last;
    if (text) parser.feed(text);
  }
  if (last.endsWith("\r")) parser.feed("\n"); // it waits to see which end this is
  return { events, retry };
}

test(`${STREAMS} random streams are read as the standard defines (SEED=${SEED})`, () => {
  const random = randomOf(SEED);
  let given = 0;
  for (let i = 0; i < STREAMS; i++) {
    const text = randomStream(random);
    const pieces = randomPieces(encoder.encode(text), random);
    const found = ours(pieces);
    const about = JSON.stringify({ i, text, sizes: pieces.map(({ length }) => length) });
    assert.deepEqual(found, standard(text), about);
    const events = found.events.map(({ event, data }) => ({ event, data }));
    assert.deepEqual({ events, retry: found.retry }, theirs(pieces), about);
    given += events.length;
  }
  assert.ok(given > STREAMS, "there must be something to compare");
});
