// A run that continues after its server was stopped: `restarted` over real HTTP.

import assert from "node:assert/strict";

import { DONE, collect, contentFrames, frame, numbers, scripted, streamed, test } from "./scripted.mjs";

const restarted = (number, after) =>
  frame("restarted", number, { metadata: { attempt: 2, discard_after: after } });

test("a stream requests restarts, unless the program says otherwise", async () => {
  const { client, requests } = await scripted([streamed(contentFrames(1) + DONE)]);
  await collect(client.stream({ input: "x" }));
  await collect(client.stream({ input: "x", restarts: false }));
  assert.deepEqual(requests.map(({ body }) => body.restarts), [true, false]);
});

test("the text of a stream has no part that a restart made void", async () => {
  const again = frame("content", 1001, { content: "again " }) + frame("content", 1002, { content: "3 " });
  const { client, requests } = await scripted([
    streamed(contentFrames(1, 2, 3), "cut"),
    streamed(contentFrames() + restarted(1000, 1) + again + frame("done", 1003)),
  ]);
  const stream = client.stream({ input: "x" });
  const texts = [];
  const events = await collect(stream, ({ type }) => texts.push([type, stream.text]));
  assert.deepEqual(texts, [
    ["connected", ""], ["content", "1 "], ["content", "1 2 "], ["content", "1 2 3 "],
    ["connected", "1 2 3 "], ["restarted", "1 "], ["content", "1 again "],
    ["content", "1 again 3 "], ["done", "1 again 3 "],
  ]);
  assert.deepEqual(numbers(events), [0, 1, 2, 3, 0, 1000, 1001, 1002, 1003]);
  assert.equal(requests[1].headers["last-event-id"], "r:3");
});

test("several restarts each make the text after their number void", async () => {
  const { client } = await scripted([
    streamed(
      contentFrames(1, 2) + restarted(10, 2) + frame("content", 11, { content: "x " }) +
        restarted(20, 2) + frame("content", 21, { content: "y " }) + restarted(30, 0) +
        frame("content", 31, { content: "z" }) + DONE,
    ),
  ]);
  const stream = client.stream({ input: "x" });
  const texts = [];
  await collect(stream, ({ type }) => type === "restarted" && texts.push(stream.text));
  assert.deepEqual(texts, ["1 2 ", "1 2 ", ""]);
  assert.equal(stream.text, "z");
});
