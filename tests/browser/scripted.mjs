// A real server on localhost that sends the responses that a test scripts.

import { once } from "node:events";
import { createServer } from "node:http";
import { afterEach, test as nodeTest } from "node:test";

import { AgentClient } from "../../static/streaming/client/agent-client.js";

/** @type {import("node:http").Server[]} */
const servers = [];
afterEach(() => servers.splice(0).forEach((server) => server.close().closeAllConnections()));

/** A test with a timeout for slow machines. */
export const test = (name, body) => nodeTest(name, { timeout: 60_000 }, body);

/**
 * Return a client of a server that sends the next of `replies` to each request, and the
 * last one to all further requests. `requests` collects the received requests.
 */
export async function scripted(replies, options = {}) {
  const requests = [];
  const server = createServer(async (request, response) => {
    const { method, url, headers, socket } = request;
    const number = requests.push({ method, url, headers, port: socket.remotePort });
    const body = (await request.toArray()).join("");
    requests[number - 1].body = body && JSON.parse(body);
    replies[Math.min(number, replies.length) - 1](response, request);
  });
  servers.push(server.listen(0, "127.0.0.1"));
  await once(server, "listening");
  const origin = `http://127.0.0.1:${server.address().port}`;
  const client = new AgentClient({ baseUrl: `${origin}/api/v1/agent/`, ...options });
  return { client, requests };
}

/** Respond with JSON. */
export const json = (status, body, headers = {}) => (response) =>
  response.writeHead(status, headers).end(JSON.stringify(body));

/** Close the connection without a response. */
export const drop = (response) => response.destroy();

export const CONNECTED = {
  metadata: { agent: "A", run_id: "r", org_id: "acme", conversation_id: "c" },
};

/** Return a frame as the server sends it. */
export function frame(type, number, data = {}) {
  const id = number ? `id: r:${number}\n` : "retry: 10\n";
  return `${id}event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`;
}

/** Return `connected`, then `content` with each of these numbers. */
export const contentFrames = (...numbers) =>
  frame("connected", 0, CONNECTED) +
  numbers.map((number) => frame("content", number, { content: `${number} ` })).join("");

export const DONE = frame("complete", 98) + frame("done", 99);

/** Respond with an event stream, then leave it "open", "end" it, or "cut" it off. */
export const streamed = (text, then = "end", headers = {}) => (response) => {
  const type = { "Content-Type": "text/event-stream; charset=utf-8" };
  response.writeHead(200, { ...type, ...headers });
  response.write(text, () => {
    if (then === "end") response.end();
    if (then === "cut") response.destroy();
  });
};

/** Return all events of a stream; `look` is called with each. */
export async function collect(stream, look = (_event) => {}) {
  const events = [];
  for await (const event of stream) {
    events.push(event);
    look(event);
  }
  return events;
}

/** Return the numbers of events, 0 for events without an id. */
export const numbers = (events) => events.map(({ id }) => Number(id.split(":")[1] ?? 0));

/** Wait until a condition holds. */
export async function until(condition) {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}
