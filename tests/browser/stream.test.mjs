// The client's streams over real HTTP: what comes, in which state, and how it ends.

import assert from "node:assert/strict";
import { once } from "node:events";

import { AgentError } from "../../static/streaming/client/agent-client.js";
import {
  CONNECTED, DONE, collect, frame, json, numbers, said, scripted, streamed, test, until,
} from "./scripted.mjs";

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
  assert.equal((await events.next()).value.type, "complete");
  assert.equal((await events.next()).value.type, "done");
  assert.equal((await events.next()).done, true);
  assert.deepEqual(requests[0].body, { input: "Hello", max_iterations: 2 });
});

test("it begins before anybody reads, and tells which run it is", async () => {
  const { client } = await scripted([streamed(said(1) + DONE)]);
  const stream = client.stream({ input: "x" });
  assert.deepEqual([stream.runId, stream.conversationId, stream.orgId], ["", "", "default"]);
  await until(() => stream.runId);
  assert.deepEqual([stream.runId, stream.conversationId, stream.orgId], ["r", "c", "acme"]);
  assert.equal(stream.lastEventId, "");
  await collect(stream);
  assert.equal(stream.lastEventId, "r:99");
});

test("each state is told, never before the stream is there", async () => {
  const states = [];
  const { client } = await scripted([
    streamed(said(1), "cut"),
    streamed(said(2) + DONE),
  ]);
  const onState = ({ state, attempt, retryAt, error }) =>
    states.push([stream.state === state, state, attempt, retryAt > Date.now() - 1, error?.code]);
  const stream = client.stream({ input: "x" }, { onState });
  await collect(stream);
  assert.deepEqual(states, [
    [true, "connecting", 0, false, undefined],
    [true, "streaming", 0, false, undefined],
    [true, "reconnecting", 1, true, "connection_lost"],
    [true, "reconnecting", 1, false, "connection_lost"],
    [true, "streaming", 1, false, undefined],
    [true, "ended", 0, false, undefined],
  ]);
});

test("leaving the loop closes the connection, and asks for no cancel", async () => {
  let closed;
  const { client, requests } = await scripted([
    (response) => {
      closed = once(response, "close");
      streamed(said(1), "open")(response);
    },
  ]);
  const stream = client.stream({ input: "Hello" });
  for await (const event of stream) {
    assert.equal(event.type, "connected");
    break;
  }
  await closed;
  assert.equal(stream.state, "ended");
  assert.equal(requests.length, 1);
});

test("returning ends a read that is under way", async () => {
  const { client } = await scripted([streamed(said(), "open")]);
  const events = client.stream({ input: "x" })[Symbol.asyncIterator]();
  await events.next();
  const next = events.next();
  await events.return();
  assert.deepEqual(await next, { done: true, value: undefined });
});

test("aborting rejects with the abort, not with an error of ours", async () => {
  const { client } = await scripted([streamed(said(1), "open")]);
  const controller = new AbortController();
  const stream = client.stream({ input: "Hello" }, { signal: controller.signal });
  const all = collect(stream, ({ type }) => type === "content" && controller.abort());
  await assert.rejects(all, { name: "AbortError" });
  assert.equal(stream.state, "ended");
});

test("aborting ends a wait and a pause too", async () => {
  for (const halt of [(stream) => stream.pause(), () => {}]) {
    const { client } = await scripted([
      streamed(said(1), "cut"),
      json(503, {}, { "Retry-After": "3600" }),
    ]);
    const controller = new AbortController();
    const stream = client.stream({ input: "x" }, { signal: controller.signal });
    const all = collect(stream);
    await until(() => stream.state === "reconnecting");
    halt(stream);
    controller.abort(new Error("enough"));
    await assert.rejects(all, { message: "enough" });
  }
});

test("with a signal that is aborted already nothing is sent", async () => {
  const { client, requests } = await scripted([streamed(said() + DONE)]);
  const signal = AbortSignal.abort();
  await assert.rejects(collect(client.stream({ input: "x" }, { signal })), {
    name: "AbortError",
  });
  assert.deepEqual(requests, []);
});

test("a failed run is told by its events and throws nothing", async () => {
  const failure = { error: "No.", metadata: { code: "provider_error", retryable: false } };
  const { client } = await scripted([
    streamed(said(1) + frame("error", 2, failure) + frame("done", 3)),
  ]);
  const events = await collect(client.stream({ input: "x" }));
  assert.deepEqual(events.map(({ type }) => type), ["connected", "content", "error", "done"]);
});

test("types that are not known yet pass, and events without an id", async () => {
  const plain = `event: note\ndata: {"type":"note"}\n\n`;
  const { client } = await scripted([streamed(said(1) + plain + plain + DONE)]);
  const events = await collect(client.stream({ input: "x" }));
  assert.deepEqual(events[2], { id: "", type: "note", data: { type: "note" } });
  assert.deepEqual(numbers(events), [0, 1, 0, 0, 98, 99]);
});

for (const [status, code] of [[400, "invalid_request"], [409, "conversation_busy"],
  [413, "body_too_large"], [500, "internal_error"]]) {
  test(`a request refused with ${status} is an error and not sent again`, async () => {
    const body = { error: "No.", code, run_id: "r-1" };
    const { client, requests } = await scripted([json(status, body)]);
    const stream = client.stream({ input: "x" });
    await assert.rejects(collect(stream), (error) => {
      assert.ok(error instanceof AgentError);
      assert.deepEqual([error.status, error.code, error.runId], [status, code, "r-1"]);
      return true;
    });
    assert.deepEqual([stream.state, requests.length], ["ended", 1]);
  });
}

test("a page in place of a stream, or data that is no JSON, is told as such", async () => {
  const page = (response) => response.writeHead(200).end("<h1>Log in</h1>");
  const broken = streamed(frame("connected", 0, CONNECTED) + "id: r:1\ndata: {\n\n");
  for (const reply of [page, broken]) {
    const { client, requests } = await scripted([reply]);
    const code = "unexpected_answer";
    await assert.rejects(collect(client.stream({ input: "x" })), { code, status: 200 });
    assert.equal(requests.length, 1);
  }
});

test("a run is followed from its beginning, or from after a number or an id", async () => {
  const { client, requests } = await scripted([streamed(said(7) + DONE)], { orgId: "acme" });
  await collect(client.follow("r"));
  for (const after of [6, "r:6"]) {
    const stream = client.follow("r", { after, events: ["content", "thinking"] });
    assert.equal(stream.lastEventId, "r:6");
    assert.deepEqual(numbers(await collect(stream)), [0, 7, 98, 99]);
  }
  await collect(client.follow("r", { orgId: "umbrella" }));
  const asked = requests.map(({ url, headers }) => [
    url.replace("/api/v1/agent/runs/r/events?", ""),
    headers["last-event-id"],
  ]);
  assert.deepEqual(asked, [
    ["org_id=acme", undefined],
    ["org_id=acme&events=content%2Cthinking", "r:6"],
    ["org_id=acme&events=content%2Cthinking", "r:6"],
    ["org_id=umbrella", undefined],
  ]);
});

test("a run with nothing left to tell ends at once, without events", async () => {
  const { client } = await scripted([(response) => response.writeHead(204).end()]);
  const stream = client.follow("r", { after: 99 });
  assert.deepEqual(await collect(stream), []);
  assert.equal(stream.state, "ended");
});

test("a stream that ended leaves its connection for the next", async () => {
  const { client, requests } = await scripted([streamed(said(1) + DONE)]);
  await collect(client.stream({ input: "x" }));
  await new Promise((resolve) => setTimeout(resolve, 50));
  await collect(client.stream({ input: "y" }));
  assert.equal(requests[0].port, requests[1].port);
});
