// The client's streams over real HTTP: what comes, and what breaks.

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";

import { collect, frame, json, said, scripted, streamed } from "./scripted.mjs";

const DONE = frame("done", 9);
const numbers = (events) => events.map(({ id }) => Number(id.split(":")[1] ?? 0));

test("events come one by one, each as soon as it is there", async () => {
  let finish;
  const { client, requests } = await scripted([
    (response) => {
      streamed(said(1), "open")(response);
      finish = () => response.end(DONE);
    },
  ]);
  const stream = client.stream({ input: "Hello", max_iterations: 2 });
  const events = stream[Symbol.asyncIterator]();
  assert.equal((await events.next()).value.type, "connected");
  assert.deepEqual((await events.next()).value, {
    id: "r:1",
    type: "content",
    data: { type: "content", content: "1 " },
  });
  finish();
  assert.equal((await events.next()).value.type, "done");
  assert.equal((await events.next()).done, true);
  assert.deepEqual(requests[0].body, { input: "Hello", max_iterations: 2 });
});

for (const then of ["end", "cut"]) {
  test(`a stream that is ${then} before done goes on where it was`, async () => {
    const { client, requests } = await scripted([
      streamed(said(1, 2), then),
      streamed(said(3) + DONE),
    ]);
    const events = await collect(client.stream({ input: "x", org_id: "acme" }));
    assert.deepEqual(numbers(events), [0, 1, 2, 0, 3, 9]);
    const { method, url, headers } = requests[1];
    assert.equal(`${method} ${url}`, "GET /api/v1/agent/runs/r/events?org_id=acme");
    assert.equal(headers["last-event-id"], "r:2");
  });
}

test("leaving the loop closes the connection", async () => {
  let closed;
  const { client } = await scripted([
    (response) => {
      closed = once(response, "close");
      streamed(said(1), "open")(response);
    },
  ]);
  for await (const event of client.stream({ input: "Hello" })) {
    assert.equal(event.type, "connected");
    break;
  }
  await closed;
});

test("aborting rejects with the abort, not with an error of ours", async () => {
  const { client } = await scripted([streamed(":\n\n", "open")]);
  const controller = new AbortController();
  const next = collect(client.stream({ input: "Hello" }, controller));
  controller.abort();
  await assert.rejects(next, { name: "AbortError" });
});

test("a busy conversation names the run that is in the way", async () => {
  const body = { error: "Busy.", code: "conversation_busy", run_id: "r-1" };
  const { client, requests } = await scripted([json(409, body)]);
  await assert.rejects(collect(client.stream({ input: "x" })), { runId: "r-1" });
  assert.equal(requests.length, 1);
});
