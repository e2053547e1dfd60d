// The client's single calls, over real HTTP.

import assert from "node:assert/strict";
import { test } from "node:test";

import { AgentClient, AgentError } from "../../static/streaming/client/agent-client.js";
import { json, scripted } from "./scripted.mjs";

const echo = (response, { method, url, headers }) =>
  response.end(JSON.stringify({ method, url, headers }));

test("a JSON error body becomes an error with its code and details", async () => {
  const details = [{ field: "input", message: "must not be blank" }];
  const body = { error: "Bad input.", code: "invalid_request", details };
  const { client } = await scripted([json(400, body)]);
  await assert.rejects(client.run({ input: "" }), (error) => {
    assert.ok(error instanceof AgentError);
    const { message, code, status, retryable } = error;
    assert.deepEqual(
      [message, code, status, retryable],
      ["Bad input.", "invalid_request", 400, false],
    );
    assert.deepEqual(error.details, details);
    return true;
  });
});

test("a response that is not JSON becomes an error with a sentence", async () => {
  const { client } = await scripted([
    (response) => response.writeHead(502, "Bad Gateway").end("<h1>nginx</h1>"),
  ]);
  await assert.rejects(client.metadata(), {
    message: "The server answered 502 Bad Gateway.",
    code: "unexpected_answer",
    status: 502,
    retryable: true,
  });
});

test("an unavailable server is an error with code unreachable", async () => {
  const client = new AgentClient({ baseUrl: "http://127.0.0.1:1/api/v1/agent/" });
  const unreachable = { code: "unreachable", status: 0, retryable: true };
  await assert.rejects(client.metadata(), unreachable);
});

test("a cancel names the run and its organization", async () => {
  const { client } = await scripted([echo], { orgId: "a&b" });
  const { method, url } = await client.cancel("r 1");
  assert.equal(method, "POST");
  assert.equal(url, "/api/v1/agent/runs/r%201/cancel?org_id=a%26b");
});

test("queues, branches and titles are changed by their own requests", async () => {
  const { client, requests } = await scripted([echo], { orgId: "a" });
  const { conversations } = client;
  await client.edit("r", "New?");
  await conversations.queue("c/1");
  await conversations.reorder("c/1", ["r", "s"], { orgId: "b" });
  await conversations.clearQueue("c/1");
  await conversations.goTo("c/1", 7);
  await conversations.fork("c/1", { messageId: 7 });
  await conversations.rename("c/1", "Plans");
  const query = "?org_id=a&conversation_id=c%2F1";
  assert.deepEqual(
    requests.map(({ method, url, body }) => [method, url.replace("/api/v1/agent/", ""), body]),
    [
      ["PATCH", "runs/r?org_id=a", { input: "New?" }],
      ["GET", `conversation/queue${query}`, ""],
      ["PATCH", `conversation/queue${query.replace("=a", "=b")}`, { order: ["r", "s"] }],
      ["DELETE", `conversation/queue${query}`, ""],
      ["POST", `conversation/head${query}`, { message_id: 7 }],
      ["POST", `conversation/fork${query}`, { message_id: 7 }],
      ["PATCH", `conversation${query}`, { title: "Plans" }],
    ],
  );
});
