// The client's streams over real HTTP: events, states and ends.

import assert from "node:assert/strict";
import { once } from "node:events";

import { AgentError } from "../../static/streaming/client/agent-client.js";
import {
  CONNECTED, DONE, collect, frame, json, numbers, contentFrames, scripted, streamed, test, until,
} from "./scripted.mjs";

test("events arrive one by one, each as soon as it is sent", async () => {
  let finish;
  const { client, requests } = await scripted([
    (response) => {
      streamed(contentFrames(1), "open")(response);
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
  assert.deepEqual(requests[0].body, { input: "Hello", max_iterations: 2, restarts: true });
});

test("a stream begins before it is read, and names its run", async () => {
  const { client } = await scripted([streamed(contentFrames(1) + DONE)]);
  const stream = client.stream({ input: "x" });
  assert.deepEqual([stream.runId, stream.conversationId, stream.orgId], ["", "", "default"]);
  await until(() => stream.runId);
  assert.deepEqual([stream.runId, stream.conversationId, stream.orgId], ["r", "c", "acme"]);
  assert.equal(stream.lastEventId, "");
  await collect(stream);
  assert.equal(stream.lastEventId, "r:99");
});

test("each state is reported, never before the stream is returned", async () => {
  const states = [];
  const { client } = await scripted([
    streamed(contentFrames(1), "cut"),
    streamed(contentFrames(2) + DONE),
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

test("leaving the loop closes the connection and does not cancel", async () => {
  let closed;
  const { client, requests } = await scripted([
    (response) => {
      closed = once(response, "close");
      streamed(contentFrames(1), "open")(response);
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

test("returning ends an active read", async () => {
  const { client } = await scripted([streamed(contentFrames(), "open")]);
  const events = client.stream({ input: "x" })[Symbol.asyncIterator]();
  await events.next();
  const next = events.next();
  await events.return();
  assert.deepEqual(await next, { done: true, value: undefined });
});

test("aborting rejects with the abort, not with an AgentError", async () => {
  const { client } = await scripted([streamed(contentFrames(1), "open")]);
  const controller = new AbortController();
  const stream = client.stream({ input: "Hello" }, { signal: controller.signal });
  const all = collect(stream, ({ type }) => type === "content" && controller.abort());
  await assert.rejects(all, { name: "AbortError" });
  assert.equal(stream.state, "ended");
});

test("aborting ends a wait and a pause too", async () => {
  for (const halt of [(stream) => stream.pause(), () => {}]) {
    const { client } = await scripted([
      streamed(contentFrames(1), "cut"),
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

test("with an aborted signal nothing is sent", async () => {
  const { client, requests } = await scripted([streamed(contentFrames() + DONE)]);
  const signal = AbortSignal.abort();
  await assert.rejects(collect(client.stream({ input: "x" }, { signal })), {
    name: "AbortError",
  });
  assert.deepEqual(requests, []);
});

test("a failed run ends with its events and throws nothing", async () => {
  const failure = { error: "No.", metadata: { code: "provider_error", retryable: false } };
  const { client } = await scripted([
    streamed(contentFrames(1) + frame("error", 2, failure) + frame("done", 3)),
  ]);
  const events = await collect(client.stream({ input: "x" }));
  assert.deepEqual(events.map(({ type }) => type), ["connected", "content", "error", "done"]);
});

test("unknown types and events without an id are passed on", async () => {
  const plain = `event: note\ndata: {"type":"note"}\n\n`;
  const { client } = await scripted([streamed(contentFrames(1) + plain + plain + DONE)]);
  const events = await collect(client.stream({ input: "x" }));
  assert.deepEqual(events[2], { id: "", type: "note", data: { type: "note" } });
  assert.deepEqual(numbers(events), [0, 1, 0, 0, 98, 99]);
});

for (const [status, code] of [[400, "invalid_request"], [409, "conversation_busy"],
  [413, "body_too_large"], [500, "internal_error"]]) {
  test(`a request rejected with ${status} is an error and not repeated`, async () => {
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

test("a page instead of a stream, or data that is not JSON, is an unexpected answer", async () => {
  const page = (response) => response.writeHead(200).end("<h1>Log in</h1>");
  const broken = streamed(frame("connected", 0, CONNECTED) + "id: r:1\ndata: {\n\n");
  for (const reply of [page, broken]) {
    const { client, requests } = await scripted([reply]);
    const code = "unexpected_answer";
    await assert.rejects(collect(client.stream({ input: "x" })), { code, status: 200 });
    assert.equal(requests.length, 1);
  }
});

test("a run is followed from its first event, or after a number or an id", async () => {
  const { client, requests } = await scripted([streamed(contentFrames(7) + DONE)], { orgId: "acme" });
  await collect(client.follow("r"));
  for (const after of [6, "r:6"]) {
    const stream = client.follow("r", { after, events: ["content", "thinking"] });
    assert.equal(stream.lastEventId, "r:6");
    assert.deepEqual(numbers(await collect(stream)), [0, 7, 98, 99]);
  }
  await collect(client.follow("r", { orgId: "umbrella" }));
  const queries = requests.map(({ url, headers }) => [
    url.replace("/api/v1/agent/runs/r/events?", ""),
    headers["last-event-id"],
  ]);
  assert.deepEqual(queries, [
    ["org_id=acme", undefined],
    ["org_id=acme&events=content%2Cthinking", "r:6"],
    ["org_id=acme&events=content%2Cthinking", "r:6"],
    ["org_id=umbrella", undefined],
  ]);
});

test("a run without remaining events ends immediately", async () => {
  const { client } = await scripted([(response) => response.writeHead(204).end()]);
  const stream = client.follow("r", { after: 99 });
  assert.deepEqual(await collect(stream), []);
  assert.equal(stream.state, "ended");
});

test("an ended stream leaves its connection for reuse", async () => {
  const { client, requests } = await scripted([streamed(contentFrames(1) + DONE)]);
  await collect(client.stream({ input: "x" }));
  await new Promise((resolve) => setTimeout(resolve, 50));
  await collect(client.stream({ input: "y" }));
  assert.equal(requests[0].port, requests[1].port);
});

test("a runtime without response.body gets one error, and starts no run", async (context) => {
  const { client, requests } = await scripted([streamed(contentFrames(1) + DONE)]);
  const error = { code: "streaming_unsupported", retryable: false };
  const body = Object.getOwnPropertyDescriptor(Response.prototype, "body");
  context.after(() => Object.defineProperty(Response.prototype, "body", body));
  for (const value of [null, undefined]) {
    Object.defineProperty(Response.prototype, "body", { ...body, get: () => value });
    await assert.rejects(collect(client.stream({ input: "x" })), error);
    await assert.rejects(collect(client.follow("r")), error);
  }
  assert.equal(requests.length, 0);
});

test("a fetch without response.body gets one error, which names the run", async (context) => {
  const { client, requests } = await scripted([
    streamed(contentFrames(1) + DONE, "end", { "X-Run-Id": "r" }),
  ]);
  const { fetch } = globalThis;
  context.after(() => Object.assign(globalThis, { fetch }));
  globalThis.fetch = async (request) => {
    const response = await fetch(request);
    return Object.defineProperty(response, "body", { value: null });
  };
  const stream = client.stream({ input: "x" });
  await assert.rejects(collect(stream), { code: "streaming_unsupported", status: 200, runId: "r" });
  assert.deepEqual([stream.state, requests.length], ["ended", 1]);
});
