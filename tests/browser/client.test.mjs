// The page's client: its SSE parser against the standard, the rest over real HTTP.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { afterEach, test } from "node:test";

import { AgentClient, AgentError } from "../../static/streaming/agent-client.js";
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

// Over HTTP

let server;
afterEach(() => server?.close().closeAllConnections());

/** A client of a server that answers with `listener`. */
async function clientOf(listener) {
  server = createServer(listener).listen(0, "127.0.0.1");
  await once(server, "listening");
  return new AgentClient(`http://127.0.0.1:${server.address().port}/api/`);
}

const eventStream = (response) =>
  response.writeHead(200, { "Content-Type": "text/event-stream" });

test("a run's events come one by one, each as soon as it is there", async () => {
  let sent, finish;
  const client = await clientOf(async (request, response) => {
    sent = JSON.parse((await request.toArray()).join(""));
    eventStream(response).write('id: r:1\nevent: content\ndata: {"content":"Hi"}\n\n');
    finish = () => response.end("id: r:2\nevent: done\ndata: {}\n\n");
  });
  const stream = client.stream({ input: "Hello", max_iterations: 2 });
  const content = { id: "r:1", type: "content", data: { content: "Hi" } };
  assert.deepEqual((await stream.next()).value, content);
  finish();
  assert.deepEqual((await stream.next()).value, { id: "r:2", type: "done", data: {} });
  assert.equal((await stream.next()).done, true);
  assert.deepEqual(sent, { input: "Hello", max_iterations: 2 });
});

for (const [how, end] of [
  ["ends cleanly", (response) => response.end()],
  ["is cut", (response) => response.destroy()],
]) {
  test(`a stream that ${how} before done is an error`, async () => {
    const client = await clientOf((_, response) => {
      eventStream(response).write("event: content\ndata: {}\n\n", () => end(response));
    });
    const stream = client.stream({ input: "Hello" });
    await stream.next();
    await assert.rejects(stream.next(), { code: "connection_lost" });
  });
}

test("leaving the loop closes the connection", async () => {
  let closed;
  const client = await clientOf((_, response) => {
    closed = once(response, "close");
    eventStream(response).write("event: content\ndata: {}\n\n");
  });
  for await (const event of client.stream({ input: "Hello" })) {
    assert.equal(event.type, "content");
    break;
  }
  await closed;
});

test("aborting rejects with the abort, not with an error of ours", async () => {
  const client = await clientOf((_, response) => eventStream(response).write(":\n\n"));
  const controller = new AbortController();
  const next = client.stream({ input: "Hello" }, controller).next();
  controller.abort();
  await assert.rejects(next, { name: "AbortError" });
});

test("a JSON error body becomes an error with its code and details", async () => {
  const details = [{ field: "input", message: "must not be blank" }];
  const client = await clientOf((_, response) => {
    const body = { error: "Bad input.", code: "invalid_request", details };
    response.writeHead(400).end(JSON.stringify(body));
  });
  await assert.rejects(client.stream({ input: "" }).next(), (error) => {
    assert.ok(error instanceof AgentError);
    const { message, code, status } = error;
    assert.deepEqual([message, code, status], ["Bad input.", "invalid_request", 400]);
    assert.deepEqual(error.details, details);
    return true;
  });
});

test("a busy conversation names the run that is in the way", async () => {
  const client = await clientOf((_, response) => {
    const body = { error: "Busy.", code: "conversation_busy", run_id: "r-1" };
    response.writeHead(409).end(JSON.stringify(body));
  });
  await assert.rejects(client.stream({ input: "x" }).next(), { runId: "r-1" });
});

test("an answer that is not JSON still becomes a sentence", async () => {
  const client = await clientOf((_, response) => {
    response.writeHead(502, "Bad Gateway").end("<h1>nginx</h1>");
  });
  await assert.rejects(client.metadata(), {
    message: "The server answered 502 Bad Gateway.",
    code: "unexpected_answer",
    status: 502,
  });
});

test("a server that is away is an error that says so", async () => {
  const client = await clientOf(() => {});
  server.close();
  await once(server, "close");
  await assert.rejects(client.metadata(), { code: "unreachable", status: 0 });
});

test("a cancel names the run and its organization", async () => {
  const client = await clientOf(({ method, url }, response) => {
    response.end(JSON.stringify({ method, url }));
  });
  assert.deepEqual(await client.cancel("r 1", "a&b"), {
    method: "POST",
    url: "/api/runs/r%201/cancel?org_id=a%26b",
  });
});
