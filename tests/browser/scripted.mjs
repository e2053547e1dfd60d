// A server that answers what the test scripts: a real one, on localhost.

import { once } from "node:events";
import { createServer } from "node:http";
import { afterEach } from "node:test";

import { AgentClient } from "../../static/streaming/agent-client.js";

/** @type {import("node:http").Server[]} */
const servers = [];
afterEach(() => servers.splice(0).forEach((server) => server.close().closeAllConnections()));

/**
 * A client of a server that answers each request with the next of `replies`, and all
 * others with the last. `requests` fills with what was asked.
 */
export async function scripted(replies, options = {}) {
  const requests = [];
  const server = createServer(async (request, response) => {
    const { method, url, headers } = request;
    const body = (await request.toArray()).join("");
    requests.push({ method, url, headers, body: body && JSON.parse(body) });
    replies[Math.min(requests.length, replies.length) - 1](response, request);
  });
  servers.push(server.listen(0, "127.0.0.1"));
  await once(server, "listening");
  const origin = `http://127.0.0.1:${server.address().port}`;
  const client = new AgentClient({ baseUrl: `${origin}/api/v1/agent/`, ...options });
  return { client, requests, server };
}

/** Answer with JSON. */
export const json = (status, body, headers = {}) => (response) =>
  response.writeHead(status, headers).end(JSON.stringify(body));

export const CONNECTED = {
  metadata: { run_id: "r", org_id: "acme", conversation_id: "c", agent: "A" },
};

/** A frame as the server sends it. */
export function frame(type, number, data = {}) {
  const id = number ? `id: r:${number}\n` : "retry: 10\n";
  return `${id}event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`;
}

/** `connected`, then the content of each of these numbers. */
export const said = (...numbers) =>
  frame("connected", 0, CONNECTED) +
  numbers.map((number) => frame("content", number, { content: `${number} ` })).join("");

/** Answer with an event stream, and leave it `open`, `end` it or `cut` it off. */
export const streamed = (text, then = "end") => (response) => {
  response.writeHead(200, { "Content-Type": "text/event-stream; charset=utf-8" });
  response.write(text, () => {
    if (then === "end") response.end();
    if (then === "cut") response.destroy();
  });
};

/** All that a stream gives. */
export async function collect(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}
